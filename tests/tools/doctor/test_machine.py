import pytest

from tfscale.cluster.cluster import Cluster
from tools.doctor import machine

FINE = {
    "host": "a",
    "cores_of_machine": 64,
    "cores_allowed": 64,
    "workers_here": 1,
    "bound_by": [],
    "memory_free_bytes": 2**36,
    "locked_memory_bytes": 2**16,
    "shared_memory_bytes": 2**26,
    "infiniband": [],
    "gpus": 1,
}
PORT = {"device": "mlx5_0:1", "state": "ACTIVE", "gbits": 200.0}


def _came(**other):
    return [(found.reason.value, found.came) for found in machine.judge({**FINE, **other})]


def test_a_usual_machine_is_fine():
    assert _came() == []


@pytest.mark.parametrize(
    ("environ", "launcher", "remedy"),
    [
        ({"OMPI_COMM_WORLD_RANK": "0"}, "mpirun", "--bind-to none"),
        ({"PMI_RANK": "0"}, "mpiexec", "-bind-to none"),
        ({"SLURM_PROCID": "0"}, "srun", "--cpus-per-task"),
    ],
    ids=["mpirun binds to a core (T14's neighbour)", "mpich", "srun gives one core"],
)
def test_a_launcher_that_binds_to_a_core_is_named(environ, launcher, remedy):
    found = machine.facts(Cluster(), environ)
    (bound,) = machine.judge({**FINE, "bound_by": found["bound_by"], "cores_allowed": 1})
    assert bound.came == f"{launcher} keeps this worker to one core of 64"
    assert remedy in bound.remedy


def test_a_worker_that_has_its_share_is_fine():
    bound = {"bound_by": ["mpirun", "x"], "cores_allowed": 16, "workers_here": 4}
    assert _came(**bound) == []


def test_cores_that_a_person_has_dealt_out_are_fine():
    assert _came(cores_allowed=1) == []
    asked_for = {"SLURM_PROCID": "0", "SLURM_CPUS_PER_TASK": "1"}
    assert machine.facts(Cluster(), asked_for)["bound_by"] == []


@pytest.mark.parametrize(("text", "cores"), [("0-3,8,10-11\n", 7), ("5", 1), ("", 0)])
@pytest.mark.parametrize("name", ["cpuset.cpus.effective", "cpuset/cpuset.cpus"])
def test_the_cores_of_a_container_are_counted(tmp_path, name, text, cores):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    assert machine.cores_given(tmp_path) == cores


def test_little_memory_is_a_warning():
    assert _came(memory_free_bytes=2**30) == [("memory", "1.0 GiB of memory are free")]


def test_locked_memory_matters_to_infiniband_alone():
    ((reason, came),) = _came(infiniband=[PORT])
    assert (reason, came) == ("locked memory", "ulimit -l is 64 KiB, and the node has InfiniBand")
    assert _came(infiniband=[PORT], locked_memory_bytes=-1) == []


def test_shared_memory_matters_to_several_gpus():
    ((reason, came),) = _came(gpus=2)
    assert reason == "shared memory" and came.startswith("64 MiB are free in /dev/shm")


def test_ports_of_infiniband_are_read(tmp_path):
    port = tmp_path / "mlx5_0" / "ports" / "1"
    port.mkdir(parents=True)
    (port / "state").write_text("4: ACTIVE\n")
    (port / "rate").write_text("200 Gb/sec (4X HDR)\n")
    assert machine.infiniband(tmp_path) == [PORT]
    assert machine.infiniband(tmp_path / "nothing") == []


def test_this_machine_says_all_of_it():
    found = machine.facts(Cluster(), {})
    assert found["cores"] >= 1 and found["numa_nodes"] >= 1
    assert 0 < found["memory_free_bytes"] <= found["memory_bytes"]
    assert found["boot"]


@pytest.mark.parametrize(
    ("count", "text"), [(-1, "unlimited"), (2**26, "64 MiB"), (3 * 2**30, "3.0 GiB")]
)
def test_sizes_are_said(count, text):
    assert machine.size_text(count) == text
