import json
import random

import pytest

from tfscale.cluster import discovery, machines, tf_config
from tfscale.cluster.cluster import Cluster
from tfscale.errors import ConfigError

HOSTS = ["node0:1111", "node1:1111", "node2:1111"]


def _tf_config(roles, task_type="worker", index=0):
    return json.dumps({"cluster": roles, "task": {"type": task_type, "index": index}})


def _resolve(text=None, hosts=None, index=None):
    return discovery.resolve(hosts, index, {} if text is None else {"TF_CONFIG": text})


def _message(*args, **kwargs):
    with pytest.raises(ConfigError) as caught:
        _resolve(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    assert "; expected " in message
    return message


def test_nothing_given_is_this_machine_alone():
    alone = _resolve()
    assert (alone.addresses, alone.index, alone.num_workers) == ((), 0, 1)
    assert alone.is_chief
    assert tf_config.tf_config_of(alone) == {}


def test_flags_make_a_cluster_in_the_order_of_the_list():
    third = _resolve(hosts=",".join(HOSTS), index=2)
    assert third == Cluster(tuple(HOSTS), 2)
    assert third.num_workers == 3
    assert not third.is_chief


def test_hosts_may_come_as_one_text_with_spaces_or_as_a_list():
    assert _resolve(hosts="a:1, b:2", index=1) == _resolve(hosts=["a:1", "b:2"], index=1)


def test_one_host_needs_no_index():
    assert _resolve(hosts="node0:1111") == Cluster(("node0:1111",), 0)


def test_tf_config_of_workers_only_keeps_their_index():
    assert _resolve(_tf_config({"worker": HOSTS}, index=1)) == Cluster(tuple(HOSTS), 1)


def test_the_chief_is_rank_0_and_the_workers_follow():
    roles = {"worker": HOSTS[1:], "chief": HOSTS[:1]}
    chief = _resolve(_tf_config(roles, "chief", 0))
    last = _resolve(_tf_config(roles, "worker", 1))
    assert (chief.addresses, chief.index, chief.is_chief) == (tuple(HOSTS), 0, True)
    assert (last.addresses, last.index, last.is_chief) == (tuple(HOSTS), 2, False)


def test_a_tf_config_of_one_worker_is_fine_and_needs_no_server():
    only = _resolve(_tf_config({"worker": ["node0:1111"]}))
    assert only.num_workers == 1
    assert tf_config.tf_config_of(only) == {}


def test_an_evaluator_beside_the_workers_is_no_worker():
    roles = {"worker": HOSTS[:2], "evaluator": ["node9:1111"]}
    assert _resolve(_tf_config(roles, index=1)) == Cluster(tuple(HOSTS[:2]), 1)


# As operators and schedulers write it, and TensorFlow takes it.


@pytest.mark.parametrize("index", ["1", " 1 ", 1.0])
def test_an_index_may_be_a_text(index):
    assert _resolve(_tf_config({"worker": HOSTS}, index=index)) == Cluster(tuple(HOSTS), 1)


@pytest.mark.parametrize("blank", ["node1:1111 ", " node1:1111", "node1: 1111", "node1:1111\n"])
def test_blanks_around_a_host_or_a_port_do_not_count(blank):
    found = _resolve(_tf_config({"worker": [HOSTS[0], blank, HOSTS[2]]}, index=1))
    assert found == Cluster(tuple(HOSTS), 1)
    assert json.loads(json.dumps(tf_config.tf_config_of(found)))["cluster"]["worker"] == HOSTS


@pytest.mark.parametrize(("role", "task"), [("master", "master"), ("master", "chief")])
def test_a_master_is_the_chief_and_is_told_to_tensorflow_as_one(role, task):  # T22
    roles = {role: HOSTS[:1], "worker": HOSTS[1:], "ps": []}
    chief, last = _resolve(_tf_config(roles, task)), _resolve(_tf_config(roles, "worker", "1"))
    assert (chief.addresses, chief.index, chief.is_chief) == (tuple(HOSTS), 0, True)
    assert (last.addresses, last.index, last.is_chief) == (tuple(HOSTS), 2, False)
    written = {"chief": HOSTS[:1], "worker": HOSTS[1:]}
    assert tf_config.tf_config_of(chief)["cluster"] == written
    assert tf_config.tf_config_of(last)["cluster"] == written
    assert tf_config.tf_config_of(chief)["task"] == {"type": "chief", "index": 0}
    assert tf_config.tf_config_of(last)["task"] == {"type": "worker", "index": 1}


def test_a_list_may_be_an_object_with_every_index():
    roles = {"worker": {"1": HOSTS[1], "0": HOSTS[0], "2": HOSTS[2]}}
    assert _resolve(_tf_config(roles, index=2)) == Cluster(tuple(HOSTS), 2)


@pytest.mark.parametrize(
    "task", ["", ', "task": null', ', "task": {"type": "worker"}', ', "task": {"index": "0"}']
)
def test_the_only_worker_needs_no_task(task):
    assert _resolve(f'{{"cluster": {{"worker": ["node0:1111"]}}{task}}}').num_workers == 1


def test_names_in_upper_case_and_with_a_dot_at_the_end_are_hosts():
    hosts = ("Node0.Cluster.LOCAL.:1111", "NODE1:1111")
    assert _resolve(_tf_config({"worker": hosts})) == Cluster(hosts, 0)


def test_flags_may_spell_the_hosts_of_tf_config_in_another_way():
    text = _tf_config({"worker": ["Node0:1111", "127.0.0.1:2222"]}, index="1")
    assert _resolve(text, hosts="node0:1111,localhost:2222", index=1) == _resolve(text)


def test_flags_may_repeat_tf_config():
    text = _tf_config({"worker": HOSTS}, index=1)
    assert _resolve(text, hosts=HOSTS, index=1) == _resolve(text)
    assert _resolve(text, hosts=HOSTS) == _resolve(text)
    assert _resolve(text, index=1) == _resolve(text)


@pytest.mark.parametrize(
    "flags", [{"hosts": HOSTS[:2], "index": 1}, {"hosts": HOSTS, "index": 0}, {"index": 2}]
)
def test_flags_that_contradict_tf_config_are_refused_with_both_values(flags):
    message = _message(_tf_config({"worker": HOSTS}, index=1), **flags)
    assert "--hosts=node0:1111,node1:1111,node2:1111 --index=1" in message
    assert f"--index={flags['index']}" in message
    assert "unset TF_CONFIG" in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not JSON"),
        ("node0:1111", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "has no cluster"),
        ("{}", "has no cluster"),
        ('{"cluster": []}', "has no cluster"),
        ('{"cluster": {}}', "has no cluster"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}}', "the task type None"),
        ('{"cluster": {"worker": ["a:1"]}, "task": "worker"}', "the task 'worker'"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"index": 0}}', "the task type None"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker"}}', "is None"),
        (_tf_config({"worker": {"0": "a:1", "2": "b:1"}}), "for the role 'worker'"),
        (_tf_config({"worker": {"first": "a:1"}}), "for the role 'worker'"),
        (_tf_config({"worker": ["a:1", "b:1"]}, index="one"), "is 'one'"),
        (_tf_config({"worker": ["a:1", "b:1"]}, index="-1"), "is '-1'"),
        (_tf_config({"worker": ["a:1", "b:1"]}, index=0.5), "is 0.5"),
        (_tf_config({"master": ["a:1"], "chief": ["b:1"]}, "chief"), "2 chiefs"),
        (_tf_config({"worker": ["localhost:1", "127.0.0.1:1"]}), "names 127.0.0.1:1 twice"),
        (_tf_config({"worker": ["a:1"], "ps": ["b:1"], "evaluator": []}), "the role 'ps'"),
        (_tf_config({"worker": []}), "[] for the role 'worker'"),
        (_tf_config({"worker": "a:1"}), "'a:1' for the role 'worker'"),
        (_tf_config({"worker": [1111]}), "the address 1111"),
        (_tf_config({"worker": ["a:1", "A:1"]}), "names A:1 twice"),
        (_tf_config({"chief": ["a:1"], "worker": ["a:1"]}), "names a:1 twice"),
        (_tf_config({"chief": ["a:1", "b:1"]}, "chief"), "2 chiefs"),
        (_tf_config({"worker": ["a:1"], "ps": ["b:1"]}), "the role 'ps'"),
        (_tf_config({"evaluator": ["a:1"]}, "evaluator"), "for the role 'evaluator'"),
        (_tf_config({"worker": ["a:1"], "evaluator": ["b:1"]}, "evaluator"), "'evaluator'"),
        (_tf_config({"worker": ["a:1"]}, "chief"), "the task type 'chief'"),
        (_tf_config({"worker": ["a:1"]}, ["worker"]), "the task type ['worker']"),
        (_tf_config({"worker": ["a:1", "b:1"]}, index=2), "is 2"),
        (_tf_config({"worker": ["a:1", "b:1"]}, index=-1), "is -1"),
        (_tf_config({"worker": ["a:1", "b:1"]}, index=True), "is True"),
    ],
)
def test_a_malformed_tf_config_is_refused_with_what_came_and_a_working_one(text, says):
    message = _message(text)
    assert says in message
    assert """TF_CONFIG='{"cluster": {"worker": ["node0:12345",""" in message
    assert len(message) < 600


def test_the_tf_config_that_errors_show_works():
    example = tf_config.TF_CONFIG_EXAMPLE.removeprefix("TF_CONFIG=").strip("'")
    assert _resolve(example).num_workers == 2


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("node0", "has no port"),
        ("", "names no worker"),
        ("node0:", "the port ''"),
        ("node0:0", "the port '0'"),
        ("node0:65536", "the port '65536'"),
        ("node0:-1", "the port '-1'"),
        ("node0:+80", "the port '+80'"),
        ("node0:٣", "the port '٣'"),
        ("node0:99999999999999999999", "the port"),
        ("node0:http", "the port 'http'"),
        (":1111", "the host ''"),
        ("no de:1111", "the host 'no de'"),
        ("-node:1111", "the host '-node'"),
        ("user@node:1111", "the host 'user@node'"),
        ("http://node0:1111", "a colon in its host"),
        ("::1:1111", "a colon in its host"),
        ("[::g]:1111", "for an IPv6 address"),
        ("[node0]:1111", "for an IPv6 address"),
        ("a:1,", "has no port"),
        ("a:1,,b:1", "has no port"),
        ("a:1,b:1,a:1", "names a:1 twice"),
        ("a:1,a:01", "names a:01 twice"),
    ],
)
def test_a_malformed_address_is_refused_with_what_is_wrong_about_it(address, says):
    assert says in _message(hosts=address, index=0)


@pytest.mark.parametrize(
    "address",
    [
        "node0:1",
        "10.0.0.1:65535",
        "[::1]:2222",
        "[fe80::1%eth0]:2222",
        "my_node-0.cluster.local:80",
    ],
)
def test_names_and_addresses_of_both_families_are_hosts(address):
    assert _resolve(hosts=address).addresses == (address,)


def test_an_empty_list_of_hosts_is_refused():
    assert "names no worker" in _message(hosts=[], index=0)


def test_an_index_without_hosts_is_refused_with_a_working_command():
    message = _message(index=1)
    assert "--index=1 came without --hosts" in message
    assert "--hosts=node0:12345,node1:12345 --index=0" in message


def test_several_hosts_without_an_index_are_refused_with_their_own_command():
    assert "--hosts=a:1,b:1 --index=0 on the first" in _message(hosts="a:1,b:1")


@pytest.mark.parametrize("index", [2, -1, True])
def test_an_index_that_is_no_rank_is_refused_with_the_ranks(index):
    assert "from 0 to 1" in _message(hosts="a:1,b:1", index=index)


def test_a_cluster_made_by_hand_checks_its_index_as_well():
    with pytest.raises(ConfigError, match="index is 1"):
        Cluster(("a:1",), 1)


@pytest.mark.parametrize("has_chief", [True, False])
def test_what_a_worker_writes_reads_back_as_the_same_cluster(has_chief):
    rng = random.Random(0)  # invented clusters, no secret
    for _ in range(50):
        size = rng.randint(2, 6)
        hosts = tuple(f"node{rng.randint(0, 3)}:{1000 + rank}" for rank in range(size))
        for index in range(size):
            written = Cluster(hosts, index, has_chief)
            assert _resolve(json.dumps(tf_config.tf_config_of(written))) == written


def test_writing_gives_each_worker_its_own_task():
    environ = {"PATH": "/bin"}
    tf_config.write_tf_config(Cluster(("a:1", "b:1"), 1), environ)
    assert environ["PATH"] == "/bin"
    assert json.loads(environ["TF_CONFIG"]) == {
        "cluster": {"worker": ["a:1", "b:1"]},
        "task": {"type": "worker", "index": 1},
    }


def test_writing_a_single_worker_removes_what_was_there():
    environ = {"TF_CONFIG": _tf_config({"worker": ["a:1"]})}
    tf_config.write_tf_config(Cluster(("a:1",)), environ)
    assert environ == {}


@pytest.mark.parametrize(
    ("addresses", "here"),
    [
        ((), [1]),
        (("a:1",), [1]),
        (("a:1", "b:1"), [1, 1]),
        (("a:1", "b:1", "a:2"), [2, 1, 2]),
        (("[::1]:1", "[::1]:2"), [2, 2]),
        (("localhost:1", "127.0.0.1:2", "[::1]:3", "0.0.0.0:4", "127.0.1.1:5"), [5] * 5),
        (("Node0:1", "node0.:2", "node1:1"), [2, 2, 1]),
        (("[fe80:0::1]:1", "[fe80::1]:2", "[::ffff:10.9.9.9]:1", "10.9.9.9:2"), [2, 2, 2, 2]),
    ],
)
def test_workers_of_the_same_host_are_counted(addresses, here):
    found = [Cluster(addresses, index).workers_here for index in range(len(here))]
    assert found == here


def test_this_machines_own_name_is_this_machine_and_another_is_not(monkeypatch):
    monkeypatch.setattr(machines.socket, "gethostname", lambda: "Trainer7.example.com")
    machines.own_hosts.cache_clear()
    try:
        addresses = ("trainer7.example.com:1", "trainer8:1", "localhost:2", "trainer7:3")
        workers = [Cluster(addresses, index) for index in range(4)]
        found = [(each.workers_here, each.index_here) for each in workers]
    finally:
        machines.own_hosts.cache_clear()
    assert found == [(3, 0), (1, 0), (3, 1), (3, 2)]


def test_workers_of_the_same_host_have_numbers_there():
    addresses = ("a:1", "b:1", "a:2", "b:2", "a:3")
    assert [Cluster(addresses, index).index_here for index in range(5)] == [0, 0, 1, 1, 2]
    assert Cluster().index_here == 0


# Tasks of one launch, each of which would take itself for the chief.

SECOND_OF_TWO = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}


@pytest.mark.promise("two_runs")
def test_several_tasks_that_nothing_tells_of_each_other_are_refused_with_what_to_type():
    with pytest.raises(ConfigError) as caught:
        discovery.resolve(None, None, SECOND_OF_TWO)
    message = str(caught.value)
    assert "This is task 1 of 2 of mpirun (Open MPI) (OMPI_COMM_WORLD_SIZE=2, " in message
    assert "; expected a run directory that all of them see, or --leader" in message
    assert "--leader=node0" in message
    assert "\n" not in message


@pytest.mark.parametrize("hosts", [HOSTS[:2], HOSTS[:1]])
def test_tasks_that_are_told_of_each_other_or_to_be_alone_are_not(hosts):
    index = len(hosts) - 1
    assert discovery.resolve(hosts, index, SECOND_OF_TWO) == Cluster(tuple(hosts), index)
    told = SECOND_OF_TWO | {"TF_CONFIG": _tf_config({"worker": hosts}, index=index)}
    assert discovery.resolve(None, None, told) == Cluster(tuple(hosts), index)


def test_the_only_task_of_a_launcher_is_this_machine_alone():
    one = {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}
    assert discovery.resolve(None, None, one) == Cluster()


# Several workers of each node that somebody names.


@pytest.mark.parametrize(
    ("nodes", "index", "process", "addresses", "rank"),
    [
        ("a:1,b:1", 1, 0, ("a:1", "a:2", "b:1", "b:2"), 2),
        ("a:1,b:1", 1, 1, ("a:1", "a:2", "b:1", "b:2"), 3),
        ("[::1]:7", 0, 1, ("[::1]:7", "[::1]:8"), 1),
        # Two nodes that are one machine, to try it out.
        ("localhost:10,localhost:20", 0, 1, tuple(f"localhost:{p}" for p in (10, 11, 20, 21)), 1),
    ],
)
def test_processes_of_a_node_take_the_ports_that_follow_its_own(
    nodes, index, process, addresses, rank
):
    asked = discovery.Asked(processes=2, process=process)
    expected = Cluster(addresses, rank)
    assert discovery.resolve(nodes, index, {}, asked) == expected
    told = {"TF_CONFIG": _tf_config({"worker": nodes.split(",")}, index=index)}
    assert discovery.resolve(None, None, told, asked) == expected


def test_processes_of_a_node_keep_the_chief_that_tf_config_names():
    roles = {"chief": ["a:1"], "worker": ["b:1"]}
    found = discovery.resolve(
        None, None, {"TF_CONFIG": _tf_config(roles)}, discovery.Asked(processes=2, process=1)
    )
    assert found == Cluster(("a:1", "a:2", "b:1", "b:2"), 3, has_chief=True)


def test_processes_of_tasks_that_tell_their_addresses_are_tasks_themselves():
    asked = discovery.Asked(leader="a", processes=3, process=2, waits=False)
    found = discovery.resolve(None, None, SECOND_OF_TWO, asked)
    assert (found.num_workers, found.index) == (6, 5)


def test_processes_of_this_machine_alone_are_several_workers():
    found = discovery.resolve(None, None, {}, discovery.Asked(processes=2))
    assert (found.num_workers, found.workers_here) == (2, 2)


@pytest.mark.parametrize(
    ("nodes", "processes", "process", "words"),
    [
        ("a:1,a:2", 2, 0, "--processes_per_node=2 names a:2 twice"),
        ("a:65535", 2, 0, "--processes_per_node=2 has the address 'a:65536'"),
        ("a:1", 2, 2, "--process_of_node=2 came with --processes_per_node=2"),
        ("a:1", 1, -1, "--process_of_node=-1"),
    ],
)
def test_processes_that_cannot_be_are_refused(nodes, processes, process, words):
    index = 0
    asked = discovery.Asked(processes=processes, process=process)
    with pytest.raises(ConfigError, match=words):
        discovery.resolve(nodes, index, {}, asked)
