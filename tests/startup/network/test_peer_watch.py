"""Workers that end, fall silent or come back, with servers of this process in their place."""

import time

import pytest

from tests.startup.greeting import Server, comes_true, free_port
from tfscale.cluster.cluster import Cluster
from tfscale.startup.network import peer_watch
from tfscale.startup.network.peer_watch import ENDED, Peers, explain


@pytest.fixture
def watching():
    """Makes a worker watch others; what it has lost is in `.found`."""
    made = []

    def make(addresses, rank=0, timeout_seconds=1.0):
        own = f"127.0.0.1:{free_port()}"
        everybody = [*addresses[:rank], own, *addresses[rank:]]
        found = []
        each = Peers(
            Cluster(tuple(everybody), rank), timeout_seconds, lambda *lost: found.append(lost)
        )
        each.found = found
        made.append(each)
        return each

    yield make
    for each in made:
        each.stop()


def _is_watched(server):
    return comes_true(lambda: server.connections)


def test_a_worker_whose_process_ends_is_lost_at_once(watching):
    with Server() as first, Server() as second:
        chief = watching([first.address, second.address], timeout_seconds=600.0)
        chief.watch()
        assert _is_watched(first) and _is_watched(second)
        second.end()
        assert comes_true(lambda: chief.found)
        assert chief.found == [(2, ENDED)]


def test_a_worker_watches_the_chief_alone(watching):
    with Server() as chief, Server() as other:
        worker = watching([chief.address, other.address], rank=1, timeout_seconds=600.0)
        worker.watch()
        assert _is_watched(chief)
        assert other.connections == []
        chief.end()
        assert comes_true(lambda: worker.found)
        assert worker.found == [(0, ENDED)]


def test_a_worker_that_is_silent_is_lost_when_the_time_is_over(watching):
    with Server() as stopped:
        chief = watching([stopped.address], timeout_seconds=1.0)
        chief.watch()
        assert _is_watched(stopped)
        began = time.monotonic()
        stopped.words = None  # what the system accepts for a stopped process, that never speaks
        assert comes_true(lambda: chief.found)
        ((rank, why),) = chief.found
        assert (rank, why) == (1, "has not answered for 1 s (stopped, or cut off?)")
        assert time.monotonic() - began > 0.5


def test_a_connection_that_the_server_closes_is_made_again_without_an_alarm(watching):
    with Server() as server:
        chief = watching([server.address], timeout_seconds=600.0)
        chief.watch()
        for _ in range(3):
            assert _is_watched(server)
            server.drop()
        assert _is_watched(server)
        assert chief.found == []


def test_a_worker_is_asked_again_and_again(watching):
    with Server() as server:
        chief = watching([server.address], timeout_seconds=1.0)
        chief.watch()
        assert comes_true(lambda: len(server.connections) > 3)
        assert chief.found == []


def test_a_worker_that_could_not_be_watched_from_the_start_is_not_accused(watching):
    address = f"127.0.0.1:{free_port()}"
    chief = watching([address], timeout_seconds=0.2)
    chief.watch()
    assert not _stays_true_for(1.0, lambda: chief.found)
    with Server(port=int(address.rpartition(":")[2])) as late:
        assert _is_watched(late)
    assert comes_true(lambda: chief.found)


def test_nobody_is_accused_after_the_end_of_the_watch(watching):
    with Server() as server:
        chief = watching([server.address], timeout_seconds=600.0)
        chief.watch()
        assert _is_watched(server)
        chief.stop()
    assert not _stays_true_for(1.0, lambda: chief.found)


def _stays_true_for(seconds, is_true):
    """Whether it is true at some time within some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not is_true():
        time.sleep(0.01)
    return is_true()


def test_what_this_process_has_slept_through_is_nobodys_silence():
    longest = peer_watch._LONGEST_QUESTION_SECONDS
    assert peer_watch._without_own_delay(longest) == longest
    assert peer_watch._without_own_delay(longest + 0.1) == 0.0


def test_who_is_lost_is_found_by_asking_all(watching, monkeypatch):
    monkeypatch.setattr(peer_watch, "_LOOKING_SECONDS", 0.3)
    with Server() as running, Server(None) as stopped:
        ended = f"127.0.0.1:{free_port()}"
        worker = watching([running.address, stopped.address, ended], rank=1)
        assert worker.lost() == {2: "does not answer (stopped, or cut off?)", 3: ENDED}
        assert worker.is_running(0)
        assert not worker.is_running(2)
        assert not worker.is_running(3)
    with Server() as first:
        assert watching([first.address]).lost() == {}


def test_a_process_that_closes_its_other_connections_first_is_found_a_moment_later(watching):
    with Server() as ending:
        chief = watching([ending.address])
        asked = peer_watch._connect

        async def then_end(*args):
            link = await asked(*args)
            ending.end()
            return link

        peer_watch._connect = then_end
        try:
            assert chief.lost() == {1: ENDED}
        finally:
            peer_watch._connect = asked


def test_the_reason_names_worker_address_and_what_to_do():
    cluster = Cluster(("node0:1", "node1:2", "node2:3"), 0)
    assert explain(cluster, {1: ENDED}, 10.0) == (
        "Worker 1 at node1:2 has ended without saying why (killed, or out of memory?); expected "
        "all workers to run until the end. Look at that worker's log and machine, then start all "
        "workers again."
    )
    silent = "does not answer (stopped, or cut off?)"
    told = explain(cluster, {2: silent, 1: silent}, 10.0)
    assert told.startswith(f"Worker 1 at node1:2 {silent}, worker 2 at node2:3 {silent}; expected")
    assert "--heartbeat_timeout=10 sets the limit" in told
