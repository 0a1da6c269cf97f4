"""Ends a run that somebody stops: all workers save the same step, and none is told otherwise."""

import contextlib
import signal
from collections.abc import Callable, Iterator

from tfscale.errors import PREEMPTED_CODE, End
from tfscale.process.exit import ends_with_the_run, leave, record_end
from tfscale.process.signals import heard
from tfscale.process.stop_wish import StopWish
from tfscale.startup.job import Job


class Preemption:
    """What a worker does when it is sent SIGTERM or SIGINT.

    Args:
        job: the worker's.

    Attributes:
        ask: asks all workers to save and to end, once there is something to save; gets who was
            stopped and how.
    """

    def __init__(self, job: Job) -> None:
        """Has heard nothing yet."""
        self.ask: Callable[[str], None] | None = None
        self._job = job
        self._wish = StopWish()

    @contextlib.contextmanager
    def listening(self) -> Iterator["Preemption"]:
        """In the body signals are heard, where this process is a program that ends with its run."""
        if not ends_with_the_run():
            yield self  # in a notebook Ctrl-C is Python's
            return
        with heard(self._stop):
            yield self

    def _stop(self, number: signal.Signals) -> None:
        cluster = self._job.cluster
        where = f" at {cluster.addresses[cluster.index]}" if cluster.num_workers > 1 else ""
        who = f"Worker {cluster.index}{where} was stopped by {number.name}"
        is_first = self._wish.note(number)
        if self._wish.is_urgent:
            reason = f"{who} a second time: it ends at once."
            self._job.terminal.complain(reason)
            record_end(End.of(PREEMPTED_CODE, reason))
            leave(PREEMPTED_CODE)
        if not is_first:
            return
        if self.ask is None:
            self._job.board.end_all(
                f"{who} before training began; there was nothing to save.", PREEMPTED_CODE
            )
        self._job.terminal.complain(f"{who}: all workers save the next step and end.")
        self.ask(who)
