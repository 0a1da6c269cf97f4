import itertools
import threading

import pytest

from tfscale.cluster.cluster import Cluster
from tfscale.errors import ConfigError
from tfscale.startup import board as coordination
from tfscale.startup.board import Board


class _NoStore:
    """The store of keys as a single worker must see it: never."""

    def __getattr__(self, name):
        raise AssertionError(f"one worker asked the store for {name}")


@pytest.fixture
def board(monkeypatch):
    monkeypatch.setattr(coordination.context, "context", _NoStore)
    return _board()


def _board():
    def complain(text):
        raise AssertionError(f"one worker has nobody to complain about: {text}")

    return Board(Cluster(), complain)


def test_one_worker_hears_itself(board):
    assert board.exchange("facts", "mine") == ["mine"]


def test_what_one_worker_says_as_the_chief_is_what_it_hears(board):
    assert board.say("claim", "granted") == "granted"


def test_one_worker_waits_for_nobody(board):
    board.barrier("start", timeout_seconds=0.0)
    board.leave()


def test_an_error_of_one_worker_stays_as_it_is(board):
    error = ConfigError("--seed=-1 is out of range")
    with pytest.raises(ConfigError) as caught, board.share_failures():
        raise error
    assert caught.value is error


def test_a_body_that_works_ends_quietly(board):
    with board.share_failures():
        done = True
    assert done


def test_one_worker_starts_no_thread_that_watches():
    before = set(threading.enumerate())
    _board()
    assert set(threading.enumerate()) == before


class _Store:
    """TensorFlow's store of keys, in this process: a key is written once, and waited for."""

    def __init__(self):
        self._content, self._changed = {}, threading.Condition()
        self._at_barrier = {}

    def set_config_key_value(self, key, value):
        with self._changed:
            if key in self._content:
                raise RuntimeError(f"{key} is there")
            self._content[key] = value
            self._changed.notify_all()

    def get_config_key_value(self, key, timeout):
        with self._changed:
            if not self._changed.wait_for(lambda: key in self._content, 10.0):
                raise RuntimeError(f"{key} did not come")
            return self._content[key]

    def wait_at_barrier(self, key, timeout):
        with self._changed:
            self._at_barrier[key] = self._at_barrier.get(key, 0) + 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._at_barrier[key] == 2, 10.0)


def _two_boards(monkeypatch, complain):
    store = _Store()
    monkeypatch.setattr(coordination.context, "context", lambda: store)
    addresses = ("a:1", "b:1")
    boards = []
    for index in range(2):
        # Both workers of a run count their runs by themselves; here one process counts for both.
        monkeypatch.setattr(coordination, "_runs", itertools.count(7))
        boards.append(Board(Cluster(addresses, index), complain))
    return boards


def _watches():
    return [thread for thread in threading.enumerate() if thread.name == "failure-watch"]


def test_the_watch_of_a_worker_ends_with_its_run_and_ends_nobody(monkeypatch):
    said = []
    monkeypatch.setattr(coordination, "leave", lambda code: said.append(code))
    boards = _two_boards(monkeypatch, said.append)
    watches = _watches()
    assert len(watches) == 2
    leaving = [threading.Thread(target=board.leave) for board in boards]
    for thread in leaving:
        thread.start()
    for thread in [*leaving, *watches]:
        thread.join(10.0)
    assert _watches() == []
    assert said == []


def test_a_failure_after_the_end_of_the_run_keeps_its_own_reason(monkeypatch):
    monkeypatch.setattr(coordination, "leave", lambda code: None)
    chief, other = _two_boards(monkeypatch, lambda text: None)
    leaving = threading.Thread(target=other.leave)
    leaving.start()
    chief.leave()
    leaving.join(10.0)
    chief._failing.clear()
    assert chief._publish("the report can't be written", 2) == ("the report can't be written", 2)


def test_every_run_of_a_process_has_keys_of_its_own():
    boards = [_board() for _ in range(3)]
    keys = {board._key("facts", 0) for board in boards} | {board._failure_key for board in boards}
    assert len(keys) == 6


def test_workers_have_keys_of_their_own_in_one_run():
    board = _board()
    assert len({board._key(topic, rank) for topic in ("a", "b") for rank in range(3)}) == 6


def test_a_notice_keeps_its_reason_with_all_its_spaces_and_numbers():
    assert coordination._parse("75 worker 1 at node1:1111 is missing") == (
        "worker 1 at node1:1111 is missing",
        75,
    )
