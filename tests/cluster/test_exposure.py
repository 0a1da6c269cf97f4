import ipaddress
import socket
from types import SimpleNamespace

import psutil
import pytest

from tfscale.cluster import exposure
from tfscale.cluster.cluster import Cluster
from tfscale.cluster.exposure import described, is_public, require_private
from tfscale.errors import ConfigError

PUBLIC = "8.8.8.8"


def _require(address, **options):
    options = {"is_public_allowed": False} | options
    require_private(Cluster((address, "127.0.0.1:2"), 0), **options)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1:1", "10.1.2.3:1", "172.16.0.1:1", "192.168.1.1:1", "169.254.1.1:1"),
        *("100.64.0.1:1", "[::1]:1", "[fe80::1]:1", "[fd00::1]:1", "localhost:1", "0.0.0.0:1"),
    ],
)
def test_addresses_of_private_networks_are_fine(address):
    _require(address)


@pytest.mark.parametrize(
    "address", [f"{PUBLIC}:1", "[2001:4860:4860::8888]:1", f"[::ffff:{PUBLIC}]:1"]
)
def test_a_public_address_is_refused_unless_it_is_allowed(address):
    with pytest.raises(ConfigError) as caught:
        _require(address)
    reason = str(caught.value)
    assert f"Worker 0 has the public address {address}" in reason
    assert "--allow_public_network" in reason
    _require(address, is_public_allowed=True)


def test_a_name_counts_as_what_it_resolves_to(monkeypatch):
    def lookup(host, *args, **kwargs):
        assert host == "node0"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (PUBLIC, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with pytest.raises(ConfigError, match=r"public address node0:1 \(8\.8\.8\.8\)"):
        _require("node0:1")


def test_a_name_that_nobody_knows_yet_is_fine(monkeypatch):
    def lookup(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    _require("node0:1")


def test_a_name_server_that_is_silent_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(exposure, "do_within", lambda seconds, work: seconds < 10.0)
    _require("node0:1")


def test_only_the_own_address_of_one_of_several_counts():
    require_private(Cluster(("127.0.0.1:1", f"{PUBLIC}:1"), 0), is_public_allowed=False)
    require_private(Cluster((f"{PUBLIC}:1",), 0), is_public_allowed=False)


def test_public_addresses_are_those_of_the_registries():
    for number in (PUBLIC, "2001:4860:4860::8888", f"::ffff:{PUBLIC}"):
        assert is_public(number)
    for number in ("10.0.0.1", "::1", "fe80::1%eth0", "::ffff:10.0.0.1", "192.0.2.1"):
        assert not is_public(number)


def _cards(monkeypatch, *numbers):
    def card(number):
        family = socket.AF_INET6 if ":" in number else socket.AF_INET
        return SimpleNamespace(family=family, address=number)

    cards = {"eth0": [card(number) for number in numbers]}
    cards["eth0"].append(SimpleNamespace(family=socket.AF_PACKET, address="00:00:00:00:00:00"))
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: cards)


def test_the_port_is_told_with_who_may_reach_it(monkeypatch):
    _cards(monkeypatch, "127.0.0.1", "10.0.0.5", "fe80::1%eth0")
    told = described(Cluster(("node0:2222", "node1:2222"), 0))
    assert told == (
        "Port 2222 is open on all network interfaces of this machine (10.0.0.5, fe80::1, "
        "127.0.0.1), to whoever reaches it, without authentication: keep it inside a trusted "
        "network."
    )


def test_a_public_card_of_the_machine_is_told_first(monkeypatch):
    _cards(monkeypatch, "127.0.0.1", *(f"10.0.0.{number}" for number in range(6)), PUBLIC)
    told = described(Cluster(("node0:2222", "node1:2222"), 0))
    assert f"({PUBLIC}, 10.0.0.0, 10.0.0.1, 10.0.0.2, ...)" in told
    assert told.endswith(f"trusted network. {PUBLIC} is public!")


def test_a_single_worker_has_no_port():
    assert described(Cluster()) == ""


def test_workers_of_one_machine_are_told_of_a_public_card_only(monkeypatch):
    cluster = Cluster(("127.0.0.1:2222", "127.0.0.1:2223"), 0)
    _cards(monkeypatch, "127.0.0.1", "10.0.0.5")
    assert described(cluster) == ""
    _cards(monkeypatch, "127.0.0.1", PUBLIC)
    assert described(cluster).endswith(f"{PUBLIC} is public!")


def test_the_own_numbers_are_addresses():
    assert all(ipaddress.ip_address(number) for number in exposure._own_numbers())
