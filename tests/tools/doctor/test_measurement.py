import threading
import time

from tfscale.cluster.cluster import Cluster
from tools.doctor import measurement
from tools.doctor.asked import Asked
from tools.doctor.measurement import Measurement

MACHINE = {"host": "a", "memory_free_bytes": 2**40, "workers_here": 1, "infiniband": []}
READY = {"is_ready": True}
POINTS = [[1024, 1e-3, 1e6]]


def _node(interface="eth0", mbits=10_000, **machine):
    ways = {"interfaces": {"eth0": {"mbits": mbits}}, "peers": [{"interface": interface}] * 4}
    return {"machine": MACHINE | machine, "ways": ways}


def _run(workers, answer, *, nodes=None, seconds=100.0, readiness=READY):
    orders = []

    def send(rank, order, limit):
        if order is None:
            return readiness
        orders.append((rank, order, limit))
        return answer(rank, order) if callable(answer) else answer

    cluster = Cluster(tuple(f"n{rank}:1" for rank in range(workers))) if workers > 1 else Cluster()
    nodes = nodes or {rank: _node() for rank in range(workers)}
    measured = Measurement(Asked(Cluster, {}), cluster, nodes, send).run(time.monotonic() + seconds)
    return measured, orders


def _sums(collectives="ring"):
    return {"replicas": 2, "collectives": collectives, "points": POINTS}


def test_a_pair_is_a_cluster_of_two_at_its_own_addresses():
    measured, orders = _run(4, _sums())
    second = [(rank, order.hosts, order.index) for rank, order, _ in orders[4:8]]
    assert sorted(second) == [
        (0, ("n0:1", "n3:1"), 0),
        (1, ("n1:1", "n2:1"), 0),
        (2, ("n1:1", "n2:1"), 1),
        (3, ("n0:1", "n3:1"), 1),
    ]
    assert len(measured.pairs) == 4 and measured.together.group.ranks == (0, 1, 2, 3)


def test_a_worker_alone_sums_over_its_devices():
    measured, orders = _run(1, _sums())
    assert [(rank, order.hosts) for rank, order, _ in orders] == [(0, ())]
    assert measured.curves == (measured.together,)


def test_a_single_device_has_nothing_to_measure():
    measured, _ = _run(1, {"replicas": 1, "collectives": "none", "points": []})
    assert (measured.curves, measured.findings) == ((), [])


def test_the_slower_card_is_what_is_promised():
    measured, _ = _run(2, _sums(), nodes={0: _node(), 1: _node(mbits=1000)})
    assert measured.pairs[0].group.promised_bytes_per_second == 125e6


def test_a_virtual_card_and_the_loopback_promise_nothing():
    for node in (_node(mbits=0), _node(interface="lo")):
        measured, _ = _run(2, _sums(), nodes={0: _node(), 1: node})
        assert measured.pairs[0].group.promised_bytes_per_second == 0


def test_nccl_goes_by_infiniband():
    ports = [{"device": "x:1", "state": "ACTIVE", "gbits": 200.0}]
    nodes = {rank: _node(infiniband=ports) for rank in range(2)}
    measured, _ = _run(2, _sums("nccl"), nodes=nodes)
    assert measured.pairs[0].group.promised_bytes_per_second == 25e9


def test_little_memory_makes_the_largest_size_small():
    nodes = {0: _node(), 1: _node(memory_free_bytes=2**30, workers_here=2)}
    _, orders = _run(2, _sums(), nodes=nodes)
    assert {order.most_bytes for _, order, _ in orders} == {2**26}


def test_the_round_in_which_one_fails_is_the_last():
    def answer(rank, order):
        return {"error": "no memory"} if rank == 3 else _sums()

    measured, orders = _run(4, answer)
    (found,) = measured.findings
    assert (found.reason.value, found.node) == ("all-reduce", 3)
    assert len(orders) == 4
    assert [curve.group.ranks for curve in measured.curves] == [(0, 1)]


def test_whoever_does_not_answer_is_named():
    measured, _ = _run(2, lambda rank, order: None if rank else _sums())
    assert measured.findings[0].node == 1
    assert "worker 1: no answer within 27 s" in measured.findings[0].came


def test_a_round_for_which_there_was_too_little_time_has_not_failed(monkeypatch):
    late = {"error": "did not answer in time", "is_late": True}
    monkeypatch.setattr(measurement, "_LEAST_SECONDS", 0.2)

    def answer(rank, order):
        threading.Event().wait(0.5)
        return late

    measured, _ = _run(2, answer, seconds=0.4)
    assert measured.findings == []
    assert measured.skipped == "0 of 1 rounds measured: no time was left"


def test_a_tensorflow_that_cannot_be_started_again_is_named():
    measured, orders = _run(2, _sums(), readiness={"error": "no memory", "is_late": False})
    assert orders == []
    assert "worker 1: no memory" in measured.findings[0].came


def test_without_time_nothing_is_begun():
    measured, orders = _run(4, _sums(), seconds=5.0)
    assert (orders, measured.skipped) == ([], "0 of 3 rounds measured: no time was left")
