import pytest

from tfscale.cluster.cluster import Cluster
from tools.doctor import ways
from tools.doctor.findings import Severity

PAIR = Cluster(("node0:2222", "node1:2222"), 0)
CARD = {"is_up": True, "mtu": 1500, "mbits": 10_000}
CARDS = {
    "lo": {**CARD, "addresses": ["127.0.0.1"], "mbits": 0},
    "eth0": {**CARD, "addresses": ["10.0.0.1"]},
    "docker0": {**CARD, "addresses": ["172.17.0.1"], "mbits": 0},
}
OWN = {"host": "node0", "numbers": ["10.0.0.1"], "source": "10.0.0.1", "interface": "lo"}
PEER = {"host": "node1", "numbers": ["10.0.0.2"], "source": "10.0.0.1", "interface": "eth0"}


def _facts(own=OWN, peer=PEER, **other):
    found = {"interfaces": CARDS, "peers": [own, peer], "proxies": []}
    return {**found, "nccl_interface_setting": "", **other}


def _judge(found, cluster=PAIR):
    return [(one.reason.value, one.severity, one.came) for one in ways.judge(found, cluster)]


def test_a_usual_pair_is_fine():
    assert _judge(_facts()) == []


def test_a_worker_alone_has_no_ways():
    assert _judge(_facts(), Cluster()) == []


def test_the_own_name_that_leads_to_the_loopback_is_a_warning_t1():
    own = {**OWN, "numbers": ["127.0.1.1"]}
    ((reason, severity, came),) = _judge(_facts(own=own))
    assert (reason, severity) == ("loopback", Severity.WARN)
    assert came == "its own host name node0 resolves to 127.0.1.1, this machine's loopback"


def test_a_peer_that_leads_to_the_loopback_is_the_end_t1():
    peer = {**PEER, "numbers": ["127.0.1.1"], "interface": "lo"}
    ((reason, severity, came),) = _judge(_facts(peer=peer))
    assert (reason, severity) == ("loopback", Severity.FAIL)
    assert came.startswith("the host name of worker 1 at node1:2222, node1 resolves to 127.0.1.1")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_workers_that_are_tried_out_on_one_machine_are_fine(host):
    cluster = Cluster((f"{host}:1", f"{host}:2"), 0)
    way = {"host": host, "numbers": ["127.0.0.1"], "source": "127.0.0.1", "interface": "lo"}
    assert _judge(_facts(way, way), cluster) == []


def test_a_name_that_nobody_knows():
    ((reason, severity, came),) = _judge(_facts(peer={**PEER, "numbers": [], "interface": ""}))
    assert (reason, severity) == ("name", Severity.FAIL)
    assert "node1 of worker 1 at node1:2222 does not resolve" in came


def test_an_address_of_another_machine_is_named():
    ((reason, severity, came),) = _judge(_facts(own={**OWN, "numbers": ["10.0.0.9"]}))
    assert (reason, severity) == ("address", Severity.WARN)
    assert "node0, is none of this machine's (10.0.0.1, 172.17.0.1)" in came


def test_a_way_through_docker0_t3():
    peer = {**PEER, "numbers": ["172.17.0.2"], "interface": "docker0"}
    ((reason, _, came),) = _judge(_facts(peer=peer))
    assert reason == "interface"
    assert "goes through docker0, a bridge inside of this machine" in came


@pytest.mark.parametrize(
    ("setting", "is_fine"),
    [("eth", True), ("=eth0", True), ("^docker", True), ("ib0", False), ("=eth", False)],
)
def test_a_setting_for_nccl_has_to_name_a_card_t3(setting, is_fine):
    found = _judge(_facts(nccl_interface_setting=setting))
    assert [reason for reason, *_ in found] == ([] if is_fine else ["interface"])


@pytest.mark.parametrize(
    ("first", "setting", "is_named"),
    [("br0", "", True), ("ib0", "", False), ("virbr0", "", False), ("br0", "eth0", False)],
)
def test_a_card_that_nccl_would_take_and_that_leads_to_nobody_t3(first, setting, is_named):
    cards = {first: {**CARD, "addresses": ["10.9.0.1"]}, **CARDS}
    found = _facts(interfaces=cards, nccl_interface_setting=setting)
    came = [one.came for one in ways.judge(found, PAIR, has_gpu=True)]
    assert came == ["NCCL would take br0, and the others are reached by eth0"] * is_named
    assert ways.judge(found, PAIR) == [], "a ring over TCP goes where the addresses lead"


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, []),
        ({"http_proxy": "http://p:1"}, ["http_proxy=http://p:1"]),
        ({"HTTPS_PROXY": "http://me:secret@p:1"}, ["HTTPS_PROXY=http://...@p:1"]),
        ({"http_proxy": "http://p:1", "no_proxy": "node0,node1"}, []),
        ({"http_proxy": "http://p:1", "no_proxy": "node0"}, ["http_proxy=http://p:1"]),
        ({"http_proxy": "http://p:1", "NO_PROXY": "*"}, []),
    ],
)
def test_proxies_are_told_without_passwords_unless_workers_are_spared(environ, told):
    assert ways.proxies(PAIR, environ) == told


def test_a_network_of_no_proxy_spares_its_addresses():
    cluster = Cluster(("10.0.0.1:1", "10.0.0.2:1"), 0)
    assert ways.proxies(cluster, {"http_proxy": "p", "no_proxy": "10.0.0.0/8"}) == []


def test_a_proxy_is_a_warning_with_its_setting():
    ((reason, severity, came),) = _judge(_facts(proxies=["http_proxy=http://p:1"]))
    assert (reason, severity) == ("proxy", Severity.WARN)
    assert came.startswith("http_proxy=http://p:1 is set")


def test_the_ways_of_this_machine_are_found():
    found = ways.facts(Cluster(("127.0.0.1:1", "localhost:2"), 0), {"NCCL_SOCKET_IFNAME": "eth0"})
    assert found["interfaces"]["lo"]["addresses"]
    assert [way["interface"] for way in found["peers"]] == ["lo", "lo"]
    assert found["nccl_interface_setting"] == "eth0"
