import itertools
import threading
import time
from types import SimpleNamespace

import pytest
import tensorflow as tf

from tfscale.cluster.cluster import Cluster
from tfscale.errors import FAILURE_CODE, ConfigError, End, Kind, SharedFailure, at_step
from tfscale.startup import board as coordination
from tfscale.startup import key_value_store as store_module
from tfscale.startup import messages
from tfscale.startup.board import Board


class _NoStore:
    """The store of keys as a single worker must see it: never."""

    def __getattr__(self, name):
        raise AssertionError(f"one worker asked the store for {name}")


@pytest.fixture
def board(monkeypatch):
    monkeypatch.setattr(store_module.context, "context", _NoStore)
    return _board()


def _board():
    def complain(text):
        raise AssertionError(f"one worker has nobody to complain about: {text}")

    return Board(Cluster(), complain)


def test_one_worker_hears_itself(board):
    assert board.all_gather("facts", "mine") == ["mine"]


def test_what_one_worker_says_as_the_chief_is_what_it_hears(board):
    assert board.broadcast("claim", "granted") == "granted"


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
            seconds = timeout / 1000 or 10.0
            if not self._changed.wait_for(lambda: key in self._content, seconds):
                raise RuntimeError(f"{key} did not come")
            return self._content[key]

    def _get_now(self, key):
        with self._changed:
            return self._content.get(key)

    def wait_at_barrier(self, key, timeout):
        with self._changed:
            self._at_barrier[key] = self._at_barrier.get(key, 0) + 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._at_barrier[key] == 2, 10.0)


def _two_boards(monkeypatch, complain):
    store = _Store()
    monkeypatch.setattr(store_module.context, "context", lambda: store)
    addresses = ("a:1", "b:1")
    boards = []
    for index in range(2):
        # Both workers of a run count their runs by themselves; here one process counts for both.
        monkeypatch.setattr(messages, "_runs", itertools.count(7))
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
    end = End.of(2, "the report can't be written")
    assert chief._publish(end) == end


# Workers that end without a reason.


class _Peers:
    """What a board is told of the other workers, without asking them."""

    def __init__(self, cluster, timeout_seconds, on_lost):
        self.on_lost, self.gone, self.is_watching = on_lost, {}, None

    def watch(self):
        self.is_watching = True

    def stop(self):
        self.is_watching = False

    def lost(self):
        return self.gone

    def is_running(self, rank):
        return rank not in self.gone


class _Ended(Exception):
    """Takes the place of the process's end."""


@pytest.fixture
def workers(monkeypatch):
    """The boards of two workers; what those that end say, record and end with."""
    said, codes, recorded = [], [], []

    def leave(code):
        codes.append(code)
        raise _Ended

    monkeypatch.setattr(coordination, "Peers", _Peers)
    monkeypatch.setattr(coordination, "leave", leave)
    monkeypatch.setattr(coordination, "record_end", recorded.append)
    monkeypatch.setattr(coordination, "_FAREWELL_SECONDS", 0.2)
    # The watches for what others tell would end this process's threads with its reason.
    monkeypatch.setattr(Board, "_watch", lambda self: None)
    boards = _two_boards(monkeypatch, said.append)
    return SimpleNamespace(boards=boards, said=said, codes=codes, recorded=recorded)


ENDED = "has ended without saying why (killed, or out of memory?)"
LOST = tf.errors.UnavailableError(None, None, "Collective ops is aborted by: Connection reset")


def _caused(cause):
    error = RuntimeError("the callback failed")
    error.__cause__ = cause
    return error


def _lose(board, rank, why=ENDED):
    with pytest.raises(_Ended):
        board._peers.on_lost(rank, why)


def test_a_worker_that_ends_without_a_reason_ends_the_others_with_its_name(workers):
    chief, _ = workers.boards
    _lose(chief, 1)
    (reason,) = workers.said
    assert reason.startswith(f"Worker 1 at b:1 {ENDED}; expected all workers to run")
    assert workers.codes == [FAILURE_CODE]
    assert chief._store._keys._get_now(chief._failure_key) == (
        End.of(FAILURE_CODE, reason).as_text()
    )
    assert workers.recorded == [End.of(FAILURE_CODE, reason)]


def test_so_does_the_chief_with_which_the_store_is_gone(workers):
    _, other = workers.boards
    _lose(other, 0)
    (reason,) = workers.said
    assert reason.startswith(f"Worker 0 at a:1 {ENDED}")
    assert workers.codes == [FAILURE_CODE]
    assert other._store._keys._get_now(other._failure_key) is None


def test_a_worker_that_has_said_goodbye_may_end(workers):
    chief, other = workers.boards
    other._say_goodbye()
    chief._peers.on_lost(1, ENDED)
    assert (workers.said, workers.codes) == ([], [])


def test_a_worker_that_ended_with_a_reason_is_told_with_that_reason(workers):
    chief, other = workers.boards
    end = End("12 copies  differ", 1, Kind.CORRUPTION, 37)
    other._store.put(other._failure_key, end.as_text())
    _lose(chief, 1)
    assert (workers.said, workers.codes) == (["12 copies  differ"], [1])
    assert workers.recorded == [end], "the kind and the step are the same on all workers"


def test_the_chief_may_end_when_this_worker_knows_that_the_run_has_ended(workers):
    _, other = workers.boards
    other._failing.set()
    other._peers.on_lost(0, ENDED)
    assert (workers.said, workers.codes) == ([], [])


def test_the_chief_does_not_wait_for_the_goodbye_of_a_worker_that_is_gone(workers, monkeypatch):
    def silent(key, timeout_seconds=0.0):
        raise tf.errors.DeadlineExceededError(None, None, "no such key in time")

    chief, _ = workers.boards
    monkeypatch.setattr(chief._store, "get", silent)
    monkeypatch.setattr(coordination, "_FAREWELL_SECONDS", 30.0)
    chief._peers.gone = {1: ENDED}
    began = time.monotonic()
    chief._say_goodbye()
    assert time.monotonic() - began < 15.0


def _shared(board, error):
    with pytest.raises(SharedFailure) as caught, board.share_failures():
        assert board._peers.is_watching
        raise error
    assert not board._peers.is_watching
    return caught.value


@pytest.mark.parametrize("error", [LOST, ConfigError("x"), _caused(LOST)], ids=type)
def test_a_failed_operation_is_told_as_the_worker_that_is_lost_if_one_is(workers, error):
    _, other = workers.boards
    other._peers.gone = {0: ENDED}
    told = _shared(other, error)
    if isinstance(error, ConfigError):
        assert (told.reason, told.code) == ("x", 2)
    else:
        assert told.reason.startswith(f"Worker 0 at a:1 {ENDED}")
        assert told.code == FAILURE_CODE


def test_a_failed_operation_keeps_its_own_reason_if_all_workers_run(workers):
    told = _shared(workers.boards[0], tf.errors.InternalError(None, None, "no such kernel"))
    assert told.reason == "InternalError: no such kernel"


def test_a_connection_that_breaks_while_all_workers_run_is_told_without_tensorflows_words(workers):
    told = _shared(workers.boards[0], _caused(LOST))
    assert told.reason.startswith("A connection between workers was cut off, though all of them ")
    assert "Look at the network between a:1, b:1, then start all workers again." in told.reason
    assert told.code == FAILURE_CODE


def test_a_worker_with_a_reason_of_its_own_does_not_ask_the_store_of_a_chief_that_is_gone(workers):
    _, other = workers.boards
    other._peers.gone = {0: ENDED}
    assert _shared(other, ConfigError("--seed=-1 is out of range")).code == 2
    assert other._store._keys._get_now(other._failure_key) is None


def test_nobody_is_watched_any_more_after_the_end_of_the_run(workers):
    boards = workers.boards
    for board in boards:
        board._peers.watch()
    leaving = [threading.Thread(target=board.leave) for board in boards]
    for thread in leaving:
        thread.start()
    for thread in leaving:
        thread.join(10.0)
    assert [board._peers.is_watching for board in boards] == [False, False]


def test_every_run_of_a_process_has_keys_of_its_own():
    boards = [_board() for _ in range(3)]
    keys = {board._key("facts", 0) for board in boards} | {board._failure_key for board in boards}
    assert len(keys) == 6


def test_workers_have_keys_of_their_own_in_one_run():
    board = _board()
    assert len({board._key(topic, rank) for topic in ("a", "b") for rank in range(3)}) == 6


def test_a_worker_that_ends_all_tells_kind_and_step_and_the_other_hears_them(workers, monkeypatch):
    chief, other = workers.boards
    with pytest.raises(_Ended):
        other.end_all("75 it stands  still", FAILURE_CODE, Kind.STANDSTILL, 5)
    monkeypatch.undo()  # of the watch, too
    monkeypatch.setattr(coordination, "leave", workers.codes.append)
    monkeypatch.setattr(coordination, "record_end", workers.recorded.append)
    monkeypatch.setattr(chief, "_say_goodbye", lambda: None)
    chief._watch()
    assert workers.recorded == [End("75 it stands  still", FAILURE_CODE, Kind.STANDSTILL, 5)] * 2
    assert workers.said == ["75 it stands  still"] * 2
    assert workers.codes == [FAILURE_CODE] * 2


def test_a_failure_of_a_step_is_shared_with_it(workers):
    told = _shared(workers.boards[0], at_step(ValueError("x"), 8))
    assert told.end == End("ValueError: x", FAILURE_CODE, Kind.FAILURE, 8)


def test_a_lost_worker_is_no_failure_of_a_step(workers):
    chief, _ = workers.boards
    chief._peers.gone = {1: ENDED}
    assert _shared(chief, at_step(LOST, 8)).end.step is None


@pytest.mark.parametrize("error", [LOST, ConfigError("x")], ids=type)
def test_the_store_of_a_chief_that_is_stopped_is_not_asked_on_the_way_out(workers, error):
    """Who asks it never comes back: tests/faults/soak.py hung there."""
    _, other = workers.boards
    other._peers.gone = {0: "has not answered for 10 s (stopped, or cut off?)"}
    _shared(other, error)
    other.post("watchdog/0/ask", "")
    assert other._store._keys._get_now("tfscale/7/watchdog/0/ask") is None


def test_a_board_with_a_store_is_posted_on(workers):
    chief, other = workers.boards
    _shared(other, ConfigError("x"))
    other.post("topic", "text")
    assert other._store._keys._get_now("tfscale/7/topic") == "text"
