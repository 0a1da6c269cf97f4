"""What each launcher sets, as its manual or its source has it, and what becomes of it."""

import json

import pytest

from tfscale.cluster import discovery
from tfscale.cluster.cluster import Cluster
from tfscale.cluster.dialects.said import port_of
from tfscale.errors import ConfigError, describe_failure

SLURM = {
    "SLURM_JOB_ID": "77",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "1",
    "SLURM_STEP_NODELIST": "node[3-4]",
    "SLURM_JOB_NODELIST": "node[1-4]",  # T5: the step has fewer nodes than the job
    "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
    "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.9",
}
PORT = port_of("slurm 77.0")
SPEC = {
    "cluster": {
        "workerpool0": ["cmle-0:2222"],
        "workerpool1": ["cmle-1:2222", "cmle-2:2222"],
        "workerpool2": ["ps-0:2222"],
        "workerpool3": ["eval-0:2222"],
    },
    "task": {"type": "workerpool1", "index": 1, "trial": "1"},
    "environment": "cloud",
}
# Of each: the environment, its rank, and the addresses of all.
WITH_ADDRESSES = {
    "slurm": (SLURM, 1, [f"node3:{PORT}", f"node4:{PORT}"]),
    "kubernetes": (
        {
            "JOB_COMPLETION_INDEX": "1",
            "TFSCALE_WORKERS": "2",
            "TFSCALE_SERVICE": "digits",
            "HOSTNAME": "digits-1",
        },
        1,
        ["digits-0.digits:2222", "digits-1.digits:2222"],
    ),
    "kubeflow": (
        {
            "PET_NNODES": "2",
            "PET_NODE_RANK": "1",
            "PET_NPROC_PER_NODE": "1",
            "PET_MASTER_ADDR": "job-node-0-0.job",
            "PET_MASTER_PORT": "29400",
            "JOB_COMPLETION_INDEX": "1",
        },
        1,
        ["job-node-0-0.job:2222", "job-node-0-1.job:2222"],
    ),
    "kubeflow jax": (
        {
            "JAX_NUM_PROCESSES": "2",
            "JAX_PROCESS_ID": "0",
            "JAX_COORDINATOR_ADDRESS": "job-node-0-0.job:6666",
        },
        0,
        ["job-node-0-0.job:2222", "job-node-0-1.job:2222"],
    ),
    "volcano": (
        {"VC_TASK_INDEX": "1", "VC_WORKER_HOSTS": "a.x,b.x", "VC_WORKER_NUM": "2"},
        1,
        ["a.x:2222", "b.x:2222"],
    ),
    "vertex": (
        {"CLUSTER_SPEC": json.dumps(SPEC)},
        2,
        ["cmle-0:2222", "cmle-1:2222", "cmle-2:2222"],
    ),
    "sagemaker": (  # T27: sorted as text
        {"SM_HOSTS": '["algo-1", "algo-10", "algo-2"]', "SM_CURRENT_HOST": "algo-2"},
        2,
        ["algo-1:2222", "algo-10:2222", "algo-2:2222"],
    ),
    "skypilot": (
        {
            "SKYPILOT_NUM_NODES": "2",
            "SKYPILOT_NODE_RANK": "1",
            "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2",
        },
        1,
        ["10.0.0.1:2222", "10.0.0.2:2222"],
    ),
    "dstack": (
        {"DSTACK_NODES_NUM": "2", "DSTACK_NODE_RANK": "0", "DSTACK_NODES_IPS": "10.0.0.1\n::2"},
        0,
        ["10.0.0.1:2222", "[::2]:2222"],
    ),
}
# Of each: the environment, size and rank, and where rank 0 is.
WITHOUT_ADDRESSES = {
    "torchrun": (
        {"WORLD_SIZE": "4", "RANK": "3", "MASTER_ADDR": "node0", "MASTER_PORT": "29500"},
        (4, 3, "node0"),
    ),
    "Open MPI": (
        {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "OMPI_UNIVERSE_SIZE": "8"},
        (2, 1, ""),
    ),
    "MPICH": ({"PMI_SIZE": "2", "PMI_RANK": "1", "MPI_LOCALRANKID": "0"}, (2, 1, "")),
    "PALS": ({"PMI_SIZE": "2", "PALS_RANKID": "1", "PALS_APID": "x"}, (2, 1, "")),
    "MVAPICH": ({"MV2_COMM_WORLD_SIZE": "2", "MV2_COMM_WORLD_RANK": "1"}, (2, 1, "")),
    "jsrun": ({"JSM_NAMESPACE_SIZE": "2", "JSM_NAMESPACE_RANK": "1"}, (2, 1, "")),
    "flux": ({"FLUX_JOB_SIZE": "2", "FLUX_TASK_RANK": "1"}, (2, 1, "")),
    "Azure ML": (
        {"AZUREML_NODE_COUNT": "2", "NODE_RANK": "1", "MASTER_ADDR": "10.0.0.1"},
        (2, 1, "10.0.0.1"),
    ),
    # The main node need not be 0, and isn't told its own address.
    "AWS Batch, main": (
        {
            "AWS_BATCH_JOB_NUM_NODES": "3",
            "AWS_BATCH_JOB_NODE_INDEX": "1",
            "AWS_BATCH_JOB_MAIN_NODE_INDEX": "1",
        },
        (3, 0, ""),
    ),
    "AWS Batch": (
        {
            "AWS_BATCH_JOB_NUM_NODES": "3",
            "AWS_BATCH_JOB_NODE_INDEX": "0",
            "AWS_BATCH_JOB_MAIN_NODE_INDEX": "1",
            "AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS": "10.0.0.7",
        },
        (3, 1, "10.0.0.7"),
    ),
}
NOT_SAID = {
    "a terminal": {"HOME": "/home/me"},
    "slots of Open MPI": {"OMPI_UNIVERSE_SIZE": "8"},
    "a size without a rank": {"WORLD_SIZE": "2"},
    "a rank without a size": {"RANK": "1", "PMIX_RANK": "1", "JOB_COMPLETION_INDEX": "1"},
    "no numbers": {"WORLD_SIZE": "auto", "RANK": ""},
    "numbers that don't fit": {"WORLD_SIZE": "2", "RANK": "2"},
    "no task": {"WORLD_SIZE": "0", "RANK": "0"},
    "several tasks of Volcano": {
        "VC_TASK_INDEX": "0",
        "VC_MASTER_HOSTS": "a",
        "VC_WORKER_HOSTS": "b",
    },
}


def _spoken(environ):
    found = [read(environ) for read in discovery.DIALECTS.values()]
    return [one for one in found if one is not None]


def _resolved(environ, **asked):
    return discovery.resolve(None, None, environ, discovery.Asked(waits=False, **asked))


def _refusal(environ, **asked):
    with pytest.raises(ConfigError) as caught:
        _resolved(environ, **asked)
    assert "; expected " in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", WITH_ADDRESSES)
def test_a_launcher_that_says_all_addresses_makes_a_cluster(name):
    environ, rank, addresses = WITH_ADDRESSES[name]
    cluster = _resolved(environ)
    assert cluster == Cluster(tuple(addresses), rank)
    assert cluster.source
    assert _resolved(environ, cluster=name.partition(" ")[0]) == cluster


@pytest.mark.parametrize("name", WITHOUT_ADDRESSES)
def test_a_launcher_that_knows_no_addresses_says_rank_size_and_leader(name):
    environ, expected = WITHOUT_ADDRESSES[name]
    (said,) = _spoken(environ)
    assert (said.size, said.rank, said.leader) == expected
    assert environ[said.size_variable] == str(said.size)
    cluster = _resolved(environ)  # of a dry run, which waits for nobody
    assert (cluster.num_workers, cluster.index) == expected[:2]
    assert "told at the start" in cluster.source


@pytest.mark.parametrize("case", NOT_SAID)
def test_what_says_nothing_of_tasks_is_no_task(case):
    assert _spoken(NOT_SAID[case]) == []
    assert _resolved(NOT_SAID[case]) == Cluster()


def test_a_launcher_that_is_asked_for_has_to_be_there():
    assert "--cluster=slurm is asked for" in _refusal({"HOME": "/me"}, cluster="slurm")
    assert _resolved(SLURM, cluster="none") == Cluster()


def test_what_launchers_say_is_not_even_read_where_none_is_to_be_asked():
    heterogeneous = SLURM | {"SLURM_HET_SIZE": "2"}
    none = discovery.Asked(cluster="none")
    assert discovery.resolve(None, None, heterogeneous, none) == Cluster()
    workers = ["127.0.0.1:1", "127.0.0.1:2"]  # as launch/local.py starts them there
    assert discovery.resolve(workers, 1, heterogeneous, none) == Cluster(tuple(workers), 1)


@pytest.mark.parametrize("name", [*WITH_ADDRESSES, *WITHOUT_ADDRESSES])
@pytest.mark.parametrize("value", ["999999999", "\u00b2", "-1", "9" * 5000, "[" * 9999, "a\nb"])
def test_no_value_of_a_variable_is_more_than_a_line_or_takes_long(name, value):
    environ = (WITH_ADDRESSES | WITHOUT_ADDRESSES)[name][0]
    for variable in environ:
        try:
            found = _resolved(environ | {variable: value})
        except ConfigError as error:
            assert "\n" not in describe_failure(error)[0]
        else:
            assert found.num_workers < 1000


# Several that speak at once.


def test_mpirun_within_slurm_is_what_counts():
    helper = {**SLURM, "SLURM_STEP_NUM_TASKS": "3", "SLURM_PROCID": "2"}
    mpi = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"}
    assert _resolved(helper | mpi).num_workers == 2
    same = {**SLURM, "SLURM_PROCID": "0"} | {**mpi, "OMPI_COMM_WORLD_RANK": "1"}
    assert _resolved(same).index == 1


def test_torchrun_on_each_node_of_a_step_counts_its_own_tasks():
    torchrun = {"WORLD_SIZE": "8", "RANK": "5", "MASTER_ADDR": "node3"}
    assert _resolved(SLURM | torchrun).num_workers == 8


def test_kubeflow_and_the_index_of_its_job_are_no_conflict():
    environ, rank, _ = WITH_ADDRESSES["kubeflow"]
    assert _resolved(environ).index == rank


def test_two_that_differ_are_refused_by_name():
    torchrun = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "node3"}
    message = _refusal(SLURM | torchrun)
    assert (
        "torchrun says that this is task 0 of 2 (RANK), and srun says 1 (SLURM_PROCID)" in message
    )
    assert "--cluster=torchrun" in message
    assert _resolved(SLURM | torchrun, cluster="slurm").index == 1


@pytest.mark.parametrize("source", ["TF_CONFIG", "--hosts"])
def test_one_index_for_all_tasks_is_refused(source):  # T23
    hosts = ["a:1", "b:1"]
    task = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": 0}}
    environ = SLURM | ({"TF_CONFIG": json.dumps(task)} if source == "TF_CONFIG" else {})
    given = (None, None) if source == "TF_CONFIG" else (hosts, 0)
    with pytest.raises(ConfigError, match=r"is worker 0 of 2, and srun that it is task 1"):
        discovery.resolve(*given, environ)
    name = "tf_config" if source == "TF_CONFIG" else "none"
    asked = discovery.Asked(cluster=name)
    assert discovery.resolve(*given, environ, asked) == Cluster(tuple(hosts), 0)


# Slurm.


def test_tasks_of_uneven_nodes_have_ports_of_their_own():  # T30
    environ = {
        **SLURM,
        "SLURM_STEP_NUM_TASKS": "6",
        "SLURM_STEP_TASKS_PER_NODE": "4,2",
        "SLURM_PROCID": "5",
    }
    ports = [f"node3:{PORT + at}" for at in range(4)] + [f"node4:{PORT + at}" for at in range(2)]
    assert _resolved(environ) == Cluster(tuple(ports), 5)


def test_two_jobs_and_two_steps_have_other_ports():  # T6
    others = [{**SLURM, "SLURM_JOB_ID": "78"}, {**SLURM, "SLURM_STEP_ID": "1"}]
    found = {_resolved(environ).addresses for environ in (SLURM, *others)}
    assert len(found) == 3
    ports = [int(one[0].rpartition(":")[2]) for one in found]
    assert all(20000 <= port < 32768 for port in ports)  # which no kernel hands out


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"SLURM_HET_SIZE": "2"}, "heterogeneous job of Slurm (SLURM_HET_SIZE=2)"),
        (
            {
                "SLURM_DISTRIBUTION": "cyclic",
                "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
                "SLURM_STEP_NUM_TASKS": "4",
            },
            "SLURM_DISTRIBUTION=cyclic",
        ),
        ({"SLURM_STEP_NODELIST": "node[3-"}, "SLURM_STEP_NODELIST='node[3-'"),
        ({"SLURM_STEP_TASKS_PER_NODE": "1"}, "2 nodes (SLURM_STEP_NODELIST) with 1 tasks"),
    ],
)
def test_a_step_whose_tasks_cannot_be_placed_is_refused(changes, words):
    assert words in _refusal(SLURM | changes)


def test_a_batch_script_without_srun_is_refused():  # T7
    environ = {"SLURM_JOB_ID": "77", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}
    message = _refusal(environ)
    assert "was started without srun, and the job has 2 tasks" in message
    assert "srun --kill-on-bad-exit=1" in message
    assert _resolved({**environ, "SLURM_NTASKS": "1"}) == Cluster()
    assert _resolved(environ, cluster="none") == Cluster()
    mpi = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}
    assert _resolved(environ | mpi).num_workers == 2


def test_srun_needs_no_pmi():  # T16
    assert not [name for name in SLURM if name.startswith(("PMI", "OMPI"))]
    assert _resolved(SLURM).num_workers == 2
    # And mpirun's own variables are not asked for where another mpirun is first in the PATH.
    hydra = {"PMI_SIZE": "2", "PMI_RANK": "1", "MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "1"}
    assert discovery.resolve(None, None, hydra, discovery.Asked(leader="a", waits=False)).index == 1


def test_rank_is_not_what_srun_sets():  # T8
    assert _resolved({**SLURM, "RANK": "0"}).index == 1


# Clouds and Kubernetes.


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"CLUSTER_SPEC": "{"}, "CLUSTER_SPEC='{' is not JSON"),
        (
            {"CLUSTER_SPEC": json.dumps(SPEC | {"task": {"type": "workerpool2", "index": 0}})},
            "makes this process 'workerpool2' 0",
        ),
        ({"SM_HOSTS": '["algo-1"]', "SM_CURRENT_HOST": "algo-2"}, "SM_CURRENT_HOST='algo-2' isn't"),
        (
            {"JOB_COMPLETION_INDEX": "2", "TFSCALE_WORKERS": "2", "HOSTNAME": "x-2"},
            "JOB_COMPLETION_INDEX=2, TFSCALE_WORKERS=2",
        ),
    ],
)
def test_what_a_cloud_cannot_mean_is_refused(environ, words):
    assert words in _refusal(environ)


SKYPILOT, _, _ = WITH_ADDRESSES["skypilot"]


@pytest.fixture
def at(monkeypatch):
    """Makes this machine the one that has an address."""
    return lambda *hosts: monkeypatch.setattr(discovery, "own_hosts", lambda: frozenset(hosts))


def test_rank_0_need_not_be_the_head_of_skypilot(at):  # T29
    at("10.0.0.2")
    listed = {**SKYPILOT, "SKYPILOT_NODE_IPS": "10.0.0.2\n10.0.0.1", "SKYPILOT_NODE_RANK": "0"}
    cluster = discovery.resolve(None, None, listed)
    assert (cluster.addresses[0], cluster.is_chief) == ("10.0.0.2:2222", True)


def test_a_rank_with_the_address_of_another_one_is_refused(at):  # T28, T29
    at("10.0.0.1")
    with pytest.raises(ConfigError) as caught:
        discovery.resolve(None, None, SKYPILOT)
    message = str(caught.value)
    assert "task 1 (SKYPILOT_NODE_RANK) at 10.0.0.2:2222, and this machine has" in message
    assert "--hosts=10.0.0.1:2222,10.0.0.2:2222 --index=0" in message
    assert _resolved(SKYPILOT).index == 1  # a dry run is tried anywhere


@pytest.mark.parametrize("name", ["skypilot", "kubernetes"])
def test_a_pod_behind_an_address_of_its_host_is_told_so(at, name):  # T28
    at("172.16.0.9", "digits-1")
    environ, rank, addresses = WITH_ADDRESSES[name]
    said = []
    cluster = discovery.resolve(None, None, environ, discovery.Asked(say=said.append))
    assert cluster == Cluster(tuple(addresses), rank)
    assert [addresses[rank] in line for line in said] == [True] * (name == "skypilot")


def test_an_index_without_a_size_is_left_to_whoever_else_speaks():
    assert _resolved({"JOB_COMPLETION_INDEX": "1", "HOSTNAME": "x-1"}) == Cluster()


def test_a_port_may_be_another_one():
    environ, _, _ = WITH_ADDRESSES["kubernetes"]
    found = _resolved({**environ, "TFSCALE_PORT": "3333"})
    assert found.addresses[0] == "digits-0.digits:3333"
