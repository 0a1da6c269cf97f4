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
