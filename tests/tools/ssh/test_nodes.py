import pytest

from tfscale.errors import ConfigError
from tools.ssh.nodes import Node, nodes_of


def _nodes(hosts, **more):
    return nodes_of(hosts, **{"port": 2222, "processes_per_node": 1, **more})


@pytest.mark.parametrize(
    ("host", "node"),
    [
        ("a", Node("a", ("a:2222",))),
        (" a ", Node("a", ("a:2222",))),
        ("a.b-c.d:2300", Node("a.b-c.d", ("a.b-c.d:2300",))),
        ("me@a:2300", Node("me@a", ("a:2300",))),
        ("me@corp@a", Node("me@corp@a", ("a:2222",))),
        ("10.0.0.1", Node("10.0.0.1", ("10.0.0.1:2222",))),
        ("fe80::1", Node("fe80::1", ("[fe80::1]:2222",))),
        ("me@[fe80::1]:2300", Node("me@fe80::1", ("[fe80::1]:2300",))),
    ],
)
def test_a_host_is_what_ssh_calls_it_and_where_its_worker_listens(host, node):
    assert _nodes([host]) == [node]


def test_workers_of_a_node_listen_side_by_side():
    nodes = _nodes(["a", "b:2300"], processes_per_node=2)
    assert [node.addresses for node in nodes] == [("a:2222", "a:2223"), ("b:2300", "b:2301")]


def test_workers_may_reach_each_other_elsewhere_than_ssh_does():
    nodes = _nodes(["me@front:2300", "other"], reached_at=["n1i", "10.0.0.2:2400"])
    assert nodes == [Node("me@front", ("n1i:2300",)), Node("other", ("10.0.0.2:2400",))]


@pytest.mark.parametrize(
    ("hosts", "words"),
    [
        ([], "names no worker"),
        ([""], "no name and no IP address"),
        (["a", "a"], "names a:2222 twice"),
        (["a:99999"], "port '99999'"),
        (["a:"], "port ''"),
        (["a:b"], "port 'b'"),
        (["-oProxyCommand=touch x"], "no name and no IP address"),
        (["-l@a"], "the user '-l'"),
        (["a b@c"], "the user 'a b'"),
        (["$(touch x)"], "no name and no IP address"),
        (["a;b"], "no name and no IP address"),
        (["fe80::x"], "for an IPv6 address"),
    ],
)
def test_what_is_no_host_is_refused(hosts, words):
    with pytest.raises(ConfigError, match=words.replace("(", r"\(").replace("$", r"\$")):
        _nodes(hosts)


def test_addresses_are_one_for_each_host():
    with pytest.raises(ConfigError, match="--addresses names 1 and --hosts 2"):
        _nodes(["a", "b"], reached_at=["c"])
    with pytest.raises(ConfigError, match="--addresses names c:2222 twice"):
        _nodes(["a", "b"], reached_at=["c", "c"])
