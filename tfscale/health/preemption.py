"""Ends a run that somebody stops: all workers save the same step, and none is told otherwise."""

import contextlib
import signal
from collections.abc import Iterator

from tfscale.errors import PREEMPTED_CODE, End, SharedFailure
from tfscale.fit.loop.events import Point
from tfscale.fit.prepare_job import Prepared
from tfscale.listener import Listener
from tfscale.process.exit import ends_with_the_run, has_supervisor, leave, record_end
from tfscale.process.signals import heard
from tfscale.process.stop_request import StopWish
from tfscale.startup.job import Job
from tfscale.startup.meeting import Meeting


class Preemption(Listener):
    """What a worker does when it is sent SIGTERM or SIGINT.

    Args:
        job: the worker's.

    Attributes:
        stopped_by: who was stopped and how, from the point on at which all workers know it.
    """

    def __init__(self, job: Job) -> None:
        self.stopped_by = ""
        self._job = job
        self._wish = StopWish()
        self._has_asked = False
        self._meeting: Meeting | None = None  # once there is something to save

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """In the body signals are heard, where this process is a program that ends with its run."""
        if not ends_with_the_run():
            yield  # in a notebook Ctrl-C is Python's
            return
        with heard(self._stop):
            yield

    def begin(self, job: Job, prepared: Prepared) -> None:
        """From now on there is something to save."""
        self._meeting = Meeting(job.board, "stop")

    def at_point(self, point: Point) -> None:
        """Brings all workers to one point, if somebody has asked; the keeper ends the run there."""
        if self._meeting is not None:
            self.stopped_by = self._meeting.reached() or self.stopped_by

    def ask(self, who: str) -> None:
        """Asks all workers to save and to end, from any thread of any worker.

        Args:
            who: was stopped and how, as a sentence begins.
        """
        if self._meeting is None:
            self._job.board.end_all(
                f"{who} before training began; there was nothing to save.", PREEMPTED_CODE
            )
        self._has_asked = True
        self._meeting.call(who)

    def close(self) -> None:
        """Nobody can stop the run any more, which is as good as done; says so to who wanted to."""
        if self._has_asked:
            self._job.terminal.complain(
                "The run was over before it could be stopped: all is saved."
            )
        if self._meeting is not None:
            self._meeting.end()

    def _stop(self, number: signal.Signals) -> None:
        cluster = self._job.cluster
        where = f" at {cluster.addresses[cluster.index]}" if cluster.num_workers > 1 else ""
        # A supervisor has said itself what came; it sends SIGTERM on for Ctrl-C as well.
        how = "told to stop" if has_supervisor() else f"stopped by {number.name}"
        who = f"Worker {cluster.index}{where} was {how}"
        is_first = self._wish.note(number)
        if self._wish.is_urgent:
            reason = f"{who} a second time: it ends at once."
            self._job.terminal.complain(reason)
            record_end(End.of(PREEMPTED_CODE, reason))
            leave(PREEMPTED_CODE)
        if not is_first:
            return
        if self._meeting is not None:
            self._job.terminal.complain(f"{who}: all workers save the next step and end.")
        self.ask(who)


class StopsAtOnce(Listener):
    """Ends an evaluation that somebody stops: there is nothing to save.

    Args:
        preemption: hears of it.
    """

    def __init__(self, preemption: Preemption) -> None:
        self._preemption = preemption

    def at_point(self, point: Point) -> None:
        """Ends it on every worker.

        Raises:
            SharedFailure: it was stopped.
        """
        if who := self._preemption.stopped_by:
            raise SharedFailure(f"{who}; an evaluation has nothing to save.", PREEMPTED_CODE)
