import json

import pytest

from tfscale.cluster.cluster import Cluster
from tfscale.startup.network.handshake import GREETING, Hello, read_hello

HOSTS = ("node0:1111", "node1:1112", "node2:1113")


def _hello(rank, *hosts):
    return Hello.of(Cluster(hosts or HOSTS, rank))


def test_what_a_worker_says_is_what_is_read():
    hello = _hello(1)
    assert hello.line().endswith(b"\n")
    assert read_hello(hello.line()) == hello


def test_a_worker_says_which_gpus_it_sees():
    hello = Hello.of(Cluster(HOSTS, 1), ["a", "b"])
    assert read_hello(hello.line()).gpus == ("a", "b")
    assert read_hello(hello.line().replace(b'"a"', b"1")) is None
    assert read_hello(hello.line().replace(b'["a", "b"]', b"3")) is None


def test_two_processes_that_say_the_same_are_told_from_each_other():
    assert _hello(1).process != _hello(1).process


def test_workers_with_one_list_are_of_one_job():
    assert _hello(0).is_of_same_job(_hello(1))
    assert _hello(0).is_of_same_job(_hello(1, "NODE0:1111", "node1.:1112", "node2:1113"))


def test_each_may_write_its_own_host_in_its_own_way():
    theirs = _hello(1, "node0:1111", "localhost:1112", "node2:1113")
    assert _hello(0).is_of_same_job(theirs)
    assert theirs.is_of_same_job(_hello(0, "0.0.0.0:1111", "node1:1112", "node2:1113"))


@pytest.mark.parametrize(
    "hosts",
    [
        ("node0:1111", "node1:1112"),
        ("node0:1111", "node1:1112", "node3:1113"),
        ("node0:1111", "node1:1112", "node2:1114"),
        ("node0:1111", "node1:1113", "node2:1112"),
    ],
)
def test_a_worker_with_another_list_is_of_another_job(hosts):
    assert not _hello(0).is_of_same_job(_hello(1, *hosts))


@pytest.mark.parametrize(
    "told",
    [
        {"rank": 3, "hosts": HOSTS, "process": "a"},
        {"rank": -1, "hosts": HOSTS, "process": "a"},
        {"rank": True, "hosts": HOSTS, "process": "a"},
        {"rank": "0", "hosts": HOSTS, "process": "a"},
        {"rank": 0, "hosts": ["node0"], "process": "a"},
        {"rank": 0, "hosts": [1], "process": "a"},
        {"rank": 0, "hosts": 1, "process": "a"},
        {"rank": 0, "hosts": HOSTS, "process": 1},
        {"rank": 0, "hosts": HOSTS},
        [],
        "text",
    ],
)
def test_what_no_worker_says_is_not_read(told):
    assert read_hello(GREETING + json.dumps(told).encode() + b"\n") is None


@pytest.mark.parametrize("line", [b"", b"SSH-2.0", b"tfscale ", b"tfscale {", b"tfscale \xff\n"])
def test_what_is_no_line_of_a_worker_is_not_read(line):
    assert read_hello(line) is None
    assert read_hello(GREETING + b"[" * 100_000) is None
