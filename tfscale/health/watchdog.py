"""Ends a run that stands still, with the reason, from outside of the thread that stands still.

A thread looks once a second where the main thread is and since when (`lookout`). Where a limit
(`deadlines`) is over, workers tell each other where they are, over the board, which works while
their main threads are blocked. Whoever holds everybody up is named (`hang_verdict`), and it is that
worker's limit that counts. Then each writes down the stacks of its threads, and all of them end.

A worker whose Python is locked for ever, by code in C that never gives the lock back, can't do any
of this: the others name it, and a timer in C writes its stacks and ends it.
"""

import contextlib
import faulthandler
import math
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from tfscale.errors import FAILURE_CODE, Kind
from tfscale.files.run_directory import LOGS
from tfscale.fit.loop.events import Point
from tfscale.fit.prepare_job import Prepared
from tfscale.health.deadlines import BETWEEN
from tfscale.health.hang_verdict import (
    HangVerdict,
    Report,
    is_worth_a_line,
    judge,
    names_of,
    unequal,
)
from tfscale.health.lookout import Lookout
from tfscale.health.worker_reports import Inquiry
from tfscale.listener import Listener
from tfscale.process.exit import ends_with_the_run
from tfscale.startup.job import Job

_TICK_SECONDS = 1.0
_LINE_SECONDS = 60.0
_FAREWELL_SECONDS = 30.0  # in which a worker that ends the run must have done so
_MARGIN_SECONDS = 15.0  # in which Python may end the worker before the timer in C does
_LONGEST_TIMER_SECONDS = 1e6
# What TensorFlow says when one worker sums gradients while another one sums something else.
_UNEQUAL = re.compile(r"Collective instance \d+ expected")
_STDERR = 2


class Watchdog(Listener):
    """Watches the thread that makes it.

    Args:
        job: the worker's.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        given = job.config.step_timeout
        self._tick = min(_TICK_SECONDS, given / 4) if given else _TICK_SECONDS
        self._lookout = Lookout(given, self._tick)
        self._over = threading.Event()
        self._next_ask = 0.0
        self._next_line = self._patience
        self._stacks: TextIO | None = None
        self._inquiry = Inquiry(job.board, lambda: self._lookout.look()[0], self._dump)
        self._is_watching = False
        self._may_end = job.board.is_shared or ends_with_the_run()

    @property
    def _patience(self) -> float:
        """Seconds after which people are told of who waits, at the start within its timeout."""
        if self._lookout.loops_seen > 1:
            return _LINE_SECONDS
        return min(_LINE_SECONDS, self._job.config.start_timeout)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watches while the body lasts, unless somebody debugs."""
        if self._lookout.is_debugged:
            yield
            return
        thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._is_watching = True
        self._inquiry.answer()
        thread.start()
        try:
            yield
        finally:
            self.close()
            thread.join()
            if self._stacks is not None:
                self._stacks.close()
                _remove_if_empty(Path(self._stacks.name))

    @contextlib.contextmanager
    def explaining(self) -> Iterator[None]:
        """Says of an error of the body if workers that have decided otherwise are its cause.

        Raises:
            RuntimeError: they have, and what.
        """
        try:
            yield
        except Exception as error:
            if found := self._unequal_at(error):
                raise RuntimeError(found) from error
            raise

    def begin(self, job: Job, prepared: Prepared) -> None:
        """From now on knows how far the training is, and has a file for stacks."""
        path = Path(job.config.run_dir) / LOGS / f"worker-{job.cluster.index}.stacks.txt"
        with contextlib.suppress(OSError):  # then they are in the log
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stacks = path.open("a", encoding="utf-8")
        self._lookout.follow(prepared)

    def at_point(self, point: Point) -> None:
        """Counts it; the limits of the start are over with the second one."""
        if self._lookout.at_point(point):
            # What comes now may never let a thread look.
            self._set_timer(self._lookout.deadlines.of(BETWEEN))

    def close(self) -> None:
        """Watches no more: the run is as good as over on all workers."""
        if not self._over.is_set():
            self._over.set()
            self._inquiry.end()

    def _unequal_at(self, error: Exception) -> str:
        """What workers have decided otherwise, if their collectives don't fit for it; or ""."""
        if not (self._job.board.is_shared and _UNEQUAL.search(f"{error} {error.__cause__}")):
            return ""
        self._lookout.fail(error)
        reports = self._inquiry.reports()
        known = [report for report in reports if report is not None]
        if len(known) < len(reports):
            return ""
        return unequal(known, names_of(self._job.cluster.addresses))

    def _watch(self) -> None:
        try:
            while not self._over.wait(self._tick):
                report, is_debugged = self._lookout.look()
                self._arm(report, is_debugged=is_debugged)
                now = self._lookout.clock.now()
                is_late = report.left <= 0 and now >= self._next_ask
                is_long = self._job.cluster.is_chief and report.seconds >= self._patience
                if not is_debugged and (is_late or (is_long and now >= self._next_line)):
                    self._ask()
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _arm(self, report: Report, *, is_debugged: bool) -> None:
        """Sets the timer in C anew: it goes off only where no Python runs any more."""
        limit = max(report.deadline, self._lookout.deadlines.of(BETWEEN)) - report.seconds
        self._set_timer(math.inf if is_debugged else max(limit, self._tick))

    def _set_timer(self, seconds: float) -> None:
        if not self._may_end or self._over.is_set() or not self._is_watching:
            return
        if seconds > _LONGEST_TIMER_SECONDS:
            faulthandler.cancel_dump_traceback_later()
            return
        file = _STDERR if self._stacks is None else self._stacks.fileno()
        faulthandler.dump_traceback_later(seconds + _MARGIN_SECONDS, exit=True, file=file)

    def _ask(self) -> None:
        """Asks all workers where they are, and does what follows from it."""
        cluster = self._job.cluster
        reports = self._inquiry.reports()
        addresses = cluster.addresses if self._job.board.is_shared else ()
        silent = self._lookout.deadlines.of(BETWEEN)
        verdict = judge(reports, addresses, cluster.index, silent=silent)
        now = self._lookout.clock.now()
        self._next_ask = now + self._tick
        if verdict is None:
            return
        if verdict.seconds_left <= 0:
            self._end_all(verdict)
            return
        self._next_ask = now + min(max(verdict.seconds_left, self._tick), _LINE_SECONDS)
        if cluster.is_chief and now >= self._next_line:
            self._next_line = now + _LINE_SECONDS
            if is_worth_a_line(reports, verdict):
                self._job.terminal.complain(f"{verdict.line}.")

    def _dump(self) -> None:
        """Writes what all threads of this worker do at this moment."""
        file = self._stacks
        faulthandler.dump_traceback(file=_STDERR if file is None else file.fileno())

    def _end_all(self, verdict: HangVerdict) -> None:
        self._set_timer(_FAREWELL_SECONDS)
        self._inquiry.have_stacks_written()
        line = verdict.line
        if self._stacks is not None:
            line += f". Stacks of all threads: {Path(self._stacks.name).parent}/worker-*.stacks.txt"
        line += "; --step_timeout sets the limit."
        if self._may_end:
            step = self._lookout.step
            self._job.board.end_all(line, FAILURE_CODE, Kind.STANDSTILL, step)
        self._job.terminal.complain(line)
        self._next_ask = self._lookout.clock.now() + _LINE_SECONDS


def _remove_if_empty(path: Path) -> None:
    with contextlib.suppress(OSError):
        if not path.stat().st_size:
            path.unlink()
