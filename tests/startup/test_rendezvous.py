"""Whether a worker can be seen at its address: on this machine's own addresses, no network."""

import contextlib
import socket

import pytest

from tfscale.cluster.cluster import Cluster
from tfscale.startup.rendezvous import unreachable


@contextlib.contextmanager
def _port(address="127.0.0.1", *, listens=True):
    """A port that is taken, so that nobody else listens at it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as taken:
        taken.bind((address, 0))
        if listens:
            taken.listen()
        yield taken.getsockname()[1]


def _cluster(*others):
    """A worker and its others; nobody is asked for the first address, its own."""
    return Cluster(("127.0.0.1:1", *others), 0)


def test_a_worker_that_listens_is_not_missing():
    with _port() as there:
        assert unreachable(_cluster(f"127.0.0.1:{there}"), [1]) == {}


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="there is no IPv6")
def test_an_address_of_ipv6_is_asked_without_its_brackets():
    with _port("::1") as there:
        assert unreachable(_cluster(f"[::1]:{there}"), [1]) == {}


def test_a_worker_whose_port_refuses_is_missing_with_the_reason():
    with _port(listens=False) as closed, _port() as there:
        cluster = _cluster(f"127.0.0.1:{closed}", f"127.0.0.1:{there}")
        assert unreachable(cluster, [1, 2]) == {1: "Connection refused"}


def test_a_name_that_nobody_knows_is_told(monkeypatch):
    def lookup(host, *args, **kwargs):
        assert host == "node1"
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert unreachable(_cluster("node1:1234"), [1]) == {1: "Name or service not known"}


def test_a_reason_without_a_text_of_the_system_is_told_too(monkeypatch):
    def connect(address, timeout):
        assert address == ("node1", 1234)
        assert timeout > 0
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", connect)
    assert unreachable(_cluster("node1:1234"), [1]) == {1: "timed out"}


def test_only_who_is_asked_for_is_looked_for():
    with _port(listens=False) as closed, _port() as there:
        cluster = _cluster(f"127.0.0.1:{closed}", f"127.0.0.1:{there}")
        assert unreachable(cluster, [2]) == {}
        assert unreachable(cluster, []) == {}
        assert list(unreachable(cluster, {1: "an earlier reason", 2: ""})) == [1]
