"""How workers end together: a failure of one with its reason, a loss by name, and goodbye.

All of it works from threads of its own while the main thread is blocked in a collective, so that
one worker's failure ends the others with its reason and not with a timeout.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

import tensorflow as tf

from tfscale.cluster.cluster import Cluster
from tfscale.errors import FAILURE_CODE, End, Kind, SharedFailure, end_of
from tfscale.process.exit import leave, record_end
from tfscale.startup.messages import Notes
from tfscale.startup.network.peer_watch import Peers, explain, told_of_a_cut

HEARTBEAT_SECONDS = 10.0
_FAREWELL_SECONDS = 3.0
_GOODBYE_SECONDS = 0.5  # until it is asked whether a worker that says none still runs
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


class Board(Notes):
    """The workers' common notice board, on which a failure of one ends all.

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
        super().__init__(cluster)
        self._failure_key = f"{self._prefix}/failure"
        self._complain = complain
        self._failing = threading.Event()
        self._heartbeat_seconds = heartbeat_seconds
        self._peers = Peers(cluster, heartbeat_seconds, self._end_without)
        self._lost: dict[int, str] = {}  # the workers that have ended or are silent
        self._has_store = True  # until the chief, with the store, is found to be stopped or gone
        self._turn = threading.Lock()  # one thread of this process tells the reason and ends it
        if cluster.num_workers > 1:
            threading.Thread(target=self._watch, name="failure-watch", daemon=True).start()

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
                    self._store.put(self._failure_key, _ENDED)
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
            end = end_of(error)
            if _has_one_of(error, _LOST):
                self._lost |= self._peers.lost()
                if self._lost:
                    end = self._end_of_lost()
                elif _has_one_of(error, (tf.errors.UnavailableError,)):
                    end = End.of(FAILURE_CODE, told_of_a_cut(self._cluster))
            raise SharedFailure(*self._publish(end)) from error
        finally:
            self._peers.stop()

    def end_all(
        self, reason: str, code: int, kind: Kind | None = None, step: int | None = None
    ) -> NoReturn:
        """Ends this process and every other worker's, from any thread.

        Args:
            reason: that all of them say.
            code: exit code.
            kind: as of `SharedFailure`.
            step: as of `SharedFailure`.
        """
        end = SharedFailure(reason, code, kind, step).end
        if self.is_shared:
            end = self._publish(end)
        self._tell(end)
        leave(end.code)

    def post(self, message: str, text: str) -> None:
        """Says something for all workers, as long as there is a store.

        Nobody comes back from asking that of a chief that is stopped.
        """
        if self._has_store:
            super().post(message, text)

    def _tell(self, end: End) -> None:
        """Says why this process ends, to people and to whoever has started it."""
        self._complain(end.reason)
        record_end(end)

    def _publish(self, end: End) -> End:
        if not self._is_first_to_fail():
            threading.Event().wait(_FAREWELL_SECONDS + 5.0)  # another thread ends the process
        return self._share(end)

    def _share(self, end: End) -> End:
        """Tells the others, and gives what the first of all has told."""
        is_told = False
        is_chief = self._cluster.is_chief
        self._has_store = is_chief or (0 not in self._lost and self._peers.is_running(0))
        if self._has_store:
            with contextlib.suppress(tf.errors.OpError, RuntimeError):
                # The first to come here wins: the store refuses a second value for a key.
                self._store.put(self._failure_key, end.as_text())
            with contextlib.suppress(tf.errors.OpError, RuntimeError):
                notice = self._store.get(self._failure_key, 2.0)
                is_told = True
                if notice != _ENDED:
                    end = End.of_text(notice)
            self._say_goodbye()
        if not is_told and self._cluster.num_workers - len(self._lost) > 1:
            # Without the store each finds out for itself, and mustn't take this worker for the one
            # that is lost.
            threading.Event().wait(_LINGER_SECONDS)
        return end

    def _end_without(self, rank: int, why: str) -> None:
        """Ends this process because another worker is lost, unless it had a reason."""
        if self._has_said_goodbye(rank) or not self._is_first_to_fail():
            return
        self._lost[rank] = why
        end = self._share(self._end_of_lost())
        self._tell(end)
        leave(end.code)

    def _has_said_goodbye(self, rank: int) -> bool:
        """Whether a worker has ended as it should; the chief, which holds the store, ends last."""
        if not self._cluster.is_chief:
            return self._failing.is_set()
        with contextlib.suppress(tf.errors.OpError, RuntimeError):
            self._store.get(self._key("goodbye", rank), _GOODBYE_SECONDS)
            return True
        return False

    def _end_of_lost(self) -> End:
        told = explain(self._cluster, self._lost, self._heartbeat_seconds)
        return End.of(FAILURE_CODE, told)

    def _watch(self) -> None:
        try:
            notice = self._store.get(self._failure_key)
        except (tf.errors.OpError, RuntimeError):
            return  # The service has ended, which whoever is in a collective learns by itself.
        if notice == _ENDED or not self._is_first_to_fail():
            return  # The main thread has the same reason and ends by itself.
        end = End.of_text(notice)
        self._tell(end)
        self._say_goodbye()
        leave(end.code)

    def _is_first_to_fail(self) -> bool:
        with self._turn:
            is_first = not self._failing.is_set()
            self._failing.set()
            return is_first

    def _say_goodbye(self) -> None:
        """Worker 0 holds the store, so it leaves when the others have read it."""
        rank, num_workers = self._cluster.index, self._cluster.num_workers
        with contextlib.suppress(tf.errors.OpError, RuntimeError):
            self._store.put(self._key("goodbye", rank), "")
            deadline = time.monotonic() + _FAREWELL_SECONDS
            for other in range(1, num_workers if rank == 0 else 1):
                self._await_goodbye(other, deadline)

    def _await_goodbye(self, other: int, deadline: float) -> None:
        """Returns when a worker has read what is in the store, or can't any more."""
        while other not in self._lost and time.monotonic() < deadline:
            try:
                self._store.get(self._key("goodbye", other), _GOODBYE_SECONDS)
                return
            except tf.errors.DeadlineExceededError:
                if not self._peers.is_running(other):
                    return


def _has_one_of(error: BaseException | None, kinds: tuple[type[Exception], ...]) -> bool:
    """Whether it, or what it came from, is one of TensorFlow's errors."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        if isinstance(error, kinds):
            return True
        seen.append(error)
        error = error.__cause__ or error.__context__
    return False
