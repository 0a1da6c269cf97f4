import contextlib
import socket
import threading
import time

import pytest

from tests.jobs.workers import free_addresses
from tests.tools.doctor.two_nodes import examine, reasons

pytestmark = pytest.mark.promise("doctor")


def _came(examination):
    return [finding.came for finding in examination.findings]


@contextlib.contextmanager
def _another_program(address, says=b"SSH-2.0-OpenSSH_9\r\n"):
    host, _, port = address.rpartition(":")
    with socket.create_server((host, int(port)), backlog=64) as server:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.sendall(says)

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)


def test_a_healthy_pair_finds_nothing_and_measures_itself():
    found = examine([0, 1])
    assert reasons(found[0]) == reasons(found[1]) == []
    assert set(found[0].nodes) == {0, 1}
    (curve,) = found[0].measured.curves
    assert curve.group.ranks == (0, 1) and curve.bus_bytes_per_second == 1e8
    assert abs(found[0].offsets[1][0]) < 1


@pytest.mark.parametrize("ahead", [600.0, -600.0])
def test_a_clock_that_is_ten_minutes_off_is_named(ahead):
    found = examine([0, 1], asks={1: {"clock": lambda: time.time() + ahead}})
    assert reasons(found[0]) == [("clock", 1)]
    assert found[0].offsets[1][0] == pytest.approx(ahead, abs=5)


def test_a_folder_that_is_not_shared_is_named(tmp_path):
    dirs = {rank: {"run_dir": str(tmp_path / str(rank))} for rank in (0, 1)}
    found = examine([0, 1], asks=dirs)
    assert reasons(found[0]) == [("folder not shared", 1)]
    assert not list(tmp_path.rglob("probe-*"))


def test_a_shared_folder_is_timed_on_both(tmp_path):
    dirs = {rank: {"run_dir": str(tmp_path)} for rank in (0, 1)}
    found = examine([0, 1], asks=dirs)
    assert reasons(found[0]) == []
    assert all(said["bytes_per_second"] > 0 for said in found[0].folder.values())


def test_a_port_that_is_taken_is_named_with_who_has_it():
    addresses = free_addresses(2)
    with _another_program(addresses[1]):
        found = examine([0, 1], addresses, timeout=5.0)
    assert reasons(found[0]) == [("port", 1), ("unreachable", 1)]
    port, unreachable = _came(found[0])
    assert f"its port {addresses[1].split(':')[1]} is taken by" in port
    assert "another program answers there ('SSH-2.0-OpenSSH_9')" in unreachable
    assert not found[0].measured.curves


def test_the_port_of_worker_0_that_is_taken_is_said_on_both():
    addresses = free_addresses(2)
    with _another_program(addresses[0]):
        found = examine([0, 1], addresses, timeout=2.0)
    assert reasons(found[0]) == [("port", 0)]
    assert reasons(found[1]) == [("missing", 0)]
    assert found[1].told_by == 1, "it says itself what it has found"


def test_who_does_not_come_is_named():
    found = examine([0, 1], free_addresses(3), timeout=2.0)
    assert reasons(found[0]) == [("missing", 2)]
    assert "nothing listens there yet" in _came(found[0])[0]


def test_an_address_at_which_nobody_is_reached_is_named_with_where_the_worker_is():
    own, wrong = free_addresses(2)
    # Nobody has an address of this network, which RFC 5737 keeps for examples.
    found = examine([0, 1], [own, f"192.0.2.1:{wrong.split(':')[1]}"], timeout=3.0)
    assert {("unreachable", 1), ("address", 1)} <= set(reasons(found[0]))
    (came,) = [text for text in _came(found[0]) if "can't be reached" in text]
    assert "it came from 127.0.0.1" in came


def test_an_all_reduce_that_fails_is_named_with_the_reason():
    found = examine([0, 1], answers={1: {"error": "TensorFlow ended: out of memory"}})
    assert reasons(found[0]) == [("all-reduce", 1)]
    assert "worker 1: TensorFlow ended: out of memory" in _came(found[0])[0]


def test_four_nodes_measure_in_pairs_and_then_together():
    found = examine([0, 1, 2, 3], workers=4)
    assert reasons(found[0]) == []
    ranks = [curve.group.ranks for curve in found[0].measured.curves]
    assert ranks == [(0, 1), (2, 3), (1, 2), (0, 3), (0, 1, 2, 3)]
