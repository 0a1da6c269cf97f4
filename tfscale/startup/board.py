"""What workers tell each other beside gradients: facts at the start, a failure, and goodbye.

TensorFlow's coordination service, which stands as soon as the strategy does, has a small store of
keys that lives in worker 0. It works from a thread of its own while the main thread is blocked in
a collective, so that one worker's failure ends the others with its reason and not with a timeout.
"""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

import tensorflow as tf
from tensorflow.python.eager import context

from tfscale.cluster.cluster import Cluster
from tfscale.errors import FAILURE_CODE, SharedFailure, describe_failure
from tfscale.process.exit import leave
from tfscale.startup.peers import Peers, explained

HEARTBEAT_SECONDS = 10.0
_FAREWELL_SECONDS = 3.0
_GOODBYE_MS = 500  # until it is asked whether a worker that says none still runs
_LINGER_SECONDS = 1.0  # in which other workers see that this one still runs
# What TensorFlow says when a worker, or the leader, can't be reached any more.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
    tf.errors.UnknownError,
)
_ENDED = "ended"  # in the place of a failure, once no worker can fail any more
_runs = itertools.count()  # every run of a process has keys of its own, the same on all workers


class Board:
    """The workers' common notice board; with one worker nothing leaves the process.

    Args:
        cluster: who writes and who reads.
        complain: gets the reason for which another worker's failure ends this one.
        heartbeat_seconds: how long another worker may be silent while failures are shared.
    """

    def __init__(
        self,
        cluster: Cluster,
        complain: Callable[[str], None],
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        """Starts to watch for failures; the strategy has to stand already."""
        self._cluster = cluster
        self._prefix = f"tfscale/{next(_runs)}"
        self._failure_key = f"{self._prefix}/failure"
        self._complain = complain
        self._store = context.context()
        self._failing = threading.Event()
        self._heartbeat_seconds = heartbeat_seconds
        self._peers = Peers(cluster, heartbeat_seconds, self._end_without)
        self._lost: dict[int, str] = {}  # the workers that have ended or are silent
        self._turn = threading.Lock()  # one thread of this process tells the reason and ends it
        if cluster.num_workers > 1:
            threading.Thread(target=self._watch, name="failure-watch", daemon=True).start()

    def exchange(self, topic: str, text: str, timeout_seconds: float = 300.0) -> list[str]:
        """Gives what every worker said about `topic`, in the order of the rank."""
        if self._cluster.num_workers == 1:
            return [text]
        self.tell(topic, text)
        timeout = int(timeout_seconds * 1000)
        return [
            self._store.get_config_key_value(self._key(topic, rank), timeout)
            for rank in range(self._cluster.num_workers)
        ]

    def say(self, topic: str, text: str, timeout_seconds: float = 300.0) -> str:
        """The chief's text about `topic`, on every worker; the others' own text is ignored.

        Args:
            topic: what it is about, once a run.
            text: what the chief says.
            timeout_seconds: how long the others wait; 0 for as long as the chief lives.
        """
        if self._cluster.num_workers == 1:
            return text
        if self._cluster.is_chief:
            self._store.set_config_key_value(self._key(topic, 0), text)
            return text
        timeout = int(timeout_seconds * 1000)
        return str(self._store.get_config_key_value(self._key(topic, 0), timeout))

    @property
    def is_shared(self) -> bool:
        """Whether there are other workers."""
        return self._cluster.num_workers > 1

    def post(self, topic: str, text: str) -> None:
        """Says something for all workers; only the first who does is heard."""
        with contextlib.suppress(tf.errors.OpError, RuntimeError):
            self._store.set_config_key_value(f"{self._prefix}/{topic}", text)

    def awaited(self, topic: str) -> str:
        """What was posted, however long that takes; "" when the board has ended."""
        try:
            return str(self._store.get_config_key_value(f"{self._prefix}/{topic}", 0))
        except (tf.errors.OpError, RuntimeError):
            return ""

    def tell(self, topic: str, text: str) -> None:
        """Says this worker's part of what `heard_of_all` gives."""
        self._store.set_config_key_value(self._key(topic, self._cluster.index), text)

    def heard_of_all(self, topic: str) -> list[str]:
        """What every worker tells about a topic, in the order of the rank; waits for all."""
        return [
            str(self._store.get_config_key_value(self._key(topic, rank), 0))
            for rank in range(self._cluster.num_workers)
        ]

    def heard_within(self, topic: str, seconds: float) -> list[str | None]:
        """As `heard_of_all`, with None for a worker that says nothing in this time."""
        deadline = time.monotonic() + seconds
        said: list[str | None] = []
        for rank in range(self._cluster.num_workers):
            left = max(1, int(1000 * (deadline - time.monotonic())))
            try:
                said.append(str(self._store.get_config_key_value(self._key(topic, rank), left)))
            except (tf.errors.OpError, RuntimeError):
                said.append(None)
        return said

    def forget(self, topic: str) -> None:
        """Takes away what this worker has said and everybody has heard."""
        if self._cluster.num_workers > 1:
            self._store.delete_config_key_value(self._key(topic, self._cluster.index))

    def barrier(self, name: str, timeout_seconds: float = 600.0) -> None:
        """Returns when every worker has come here."""
        if self._cluster.num_workers > 1:
            self._store.wait_at_barrier(f"{self._prefix}/{name}", int(timeout_seconds * 1000))

    def leave(self) -> None:
        """Returns when every worker has come here and the store is no longer needed.

        A worker that just ended would count as dead for those that still save.
        """
        self.barrier("end")
        self._peers.stop()
        self._failing.set()  # not before: until then another worker may still fail
        if self._cluster.num_workers > 1:
            if self._cluster.is_chief:
                # Every worker's watch has waited for this, or there would be one more each run.
                with contextlib.suppress(tf.errors.OpError, RuntimeError):
                    self._store.set_config_key_value(self._failure_key, _ENDED)
            self._say_goodbye()

    @contextlib.contextmanager
    def share_failures(self) -> Iterator[None]:
        """Ends every worker with the first reason when the body fails on any of them.

        So does a worker that ends without a reason, or doesn't answer any more.

        Raises:
            SharedFailure: what the first failing worker said, also on that worker.
        """
        if self._cluster.num_workers == 1:
            yield
            return
        self._peers.watch()
        try:
            yield
        except Exception as error:
            reason, code = describe_failure(error)
            if _may_be_for_a_lost_worker(error):
                self._lost |= self._peers.lost()
                if self._lost:
                    reason, code = self._told_of_lost(), FAILURE_CODE
            raise SharedFailure(*self._publish(reason, code)) from error
        finally:
            self._peers.stop()

    def end_all(self, reason: str, code: int) -> NoReturn:
        """Ends this process and every other worker's, from any thread.

        Args:
            reason: that all of them say.
            code: exit code.
        """
        if self.is_shared:
            reason, code = self._publish(reason, code)
        self._complain(reason)
        leave(code)

    def _publish(self, reason: str, code: int) -> tuple[str, int]:
        if not self._is_first_to_fail():
            threading.Event().wait(_FAREWELL_SECONDS + 5.0)  # another thread ends the process
        return self._share(reason, code)

    def _share(self, reason: str, code: int) -> tuple[str, int]:
        """Tells the others, and gives what the first of all has told."""
        is_told = False
        # Nobody comes back from asking the store of a chief that is stopped.
        if self._cluster.is_chief or (0 not in self._lost and self._peers.is_running(0)):
            with contextlib.suppress(tf.errors.OpError, RuntimeError):
                # The first to come here wins: the store refuses a second value for a key.
                self._store.set_config_key_value(self._failure_key, f"{code} {reason}")
            with contextlib.suppress(tf.errors.OpError, RuntimeError):
                notice = self._store.get_config_key_value(self._failure_key, 2000)
                is_told = True
                if notice != _ENDED:
                    reason, code = _parse(notice)
            self._say_goodbye()
        if not is_told and self._cluster.num_workers - len(self._lost) > 1:
            # Without the store each finds out for itself, and mustn't take this worker for the one
            # that is lost.
            threading.Event().wait(_LINGER_SECONDS)
        return reason, code

    def _end_without(self, rank: int, why: str) -> None:
        """Ends this process because another worker is lost, unless it had a reason."""
        if self._has_said_goodbye(rank) or not self._is_first_to_fail():
            return
        self._lost[rank] = why
        reason, code = self._share(self._told_of_lost(), FAILURE_CODE)
        self._complain(reason)
        leave(code)

    def _has_said_goodbye(self, rank: int) -> bool:
        """Whether a worker has ended as it should; the chief, which holds the store, ends last."""
        if not self._cluster.is_chief:
            return self._failing.is_set()
        with contextlib.suppress(tf.errors.OpError, RuntimeError):
            self._store.get_config_key_value(self._key("goodbye", rank), _GOODBYE_MS)
            return True
        return False

    def _told_of_lost(self) -> str:
        return explained(self._cluster, sorted(self._lost.items()), self._heartbeat_seconds)

    def _watch(self) -> None:
        try:
            notice = self._store.get_config_key_value(self._failure_key, 0)
        except (tf.errors.OpError, RuntimeError):
            return  # The service has ended, which whoever is in a collective learns by itself.
        if notice == _ENDED or not self._is_first_to_fail():
            return  # The main thread has the same reason and ends by itself.
        reason, code = _parse(notice)
        self._complain(reason)
        self._say_goodbye()
        leave(code)

    def _is_first_to_fail(self) -> bool:
        with self._turn:
            is_first = not self._failing.is_set()
            self._failing.set()
            return is_first

    def _say_goodbye(self) -> None:
        """Worker 0 holds the store, so it leaves when the others have read it."""
        rank, num_workers = self._cluster.index, self._cluster.num_workers
        with contextlib.suppress(tf.errors.OpError, RuntimeError):
            self._store.set_config_key_value(self._key("goodbye", rank), "")
            deadline = time.monotonic() + _FAREWELL_SECONDS
            for other in range(1, num_workers if rank == 0 else 1):
                self._await_goodbye(other, deadline)

    def _await_goodbye(self, other: int, deadline: float) -> None:
        """Returns when a worker has read what is in the store, or can't any more."""
        while other not in self._lost and time.monotonic() < deadline:
            try:
                self._store.get_config_key_value(self._key("goodbye", other), _GOODBYE_MS)
                return
            except tf.errors.DeadlineExceededError:
                if not self._peers.is_running(other):
                    return

    def _key(self, topic: str, rank: int) -> str:
        return f"{self._prefix}/{topic}/{rank}"


def _parse(notice: str) -> tuple[str, int]:
    code, _, reason = notice.partition(" ")
    return reason, int(code)


def _may_be_for_a_lost_worker(error: BaseException | None) -> bool:
    """Whether it, or what it came from, is what TensorFlow says when a worker is gone."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        if isinstance(error, _LOST):
            return True
        seen.append(error)
        error = error.__cause__ or error.__context__
    return False
