"""Ends a run that stands still, with the reason, from outside of the thread that stands still.

A thread looks once a second where the main thread is (`place`) and since when. Where a limit
(`deadlines`) is over, workers tell each other where they are, over the board, which works while
their main threads are blocked. Whoever holds everybody up is named (`standstill`), and it is that
worker's limit that counts. Then each writes down the stacks of its threads, and all of them end.

A worker whose Python is locked for ever, by code in C that never gives the lock back, can't do any
of this: the others name it, and a timer in C writes its stacks and ends it.
"""

import contextlib
import faulthandler
import math
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from tfscale.errors import FAILURE_CODE, Kind
from tfscale.fit.distributed_model import DistributedModel
from tfscale.fit.points import Point
from tfscale.health.deadlines import BETWEEN, DATA, START, STEP, Deadlines
from tfscale.health.inquiry import Inquiry
from tfscale.health.place import Frame, Place, in_graph, place_of, stack_of, stack_of_error
from tfscale.health.standstill import (
    Report,
    Verdict,
    is_worth_a_line,
    judge,
    names_of,
    unequal,
)
from tfscale.process.exit import ends_with_the_run
from tfscale.startup.job import Job

_TICK_SECONDS = 1.0
_LOOK_CLOSER_SECONDS = 3.0  # a loop that goes on for so long is asked how far it is
_LINE_SECONDS = 60.0
_FAREWELL_SECONDS = 30.0  # in which a worker that ends the run must have done so
_MARGIN_SECONDS = 15.0  # in which Python may end the worker before the timer in C does
_LONGEST_TIMER_SECONDS = 1e6
# What TensorFlow says when one worker sums gradients while another one sums something else.
_UNEQUAL = re.compile(r"Collective instance \d+ expected")
_STDERR = 2


class PatientClock:
    """Seconds in which this process could have done something.

    A machine that was suspended, or a process that was stopped, has not stood still.
    """

    def __init__(self, most_seconds: float) -> None:
        """Begins; what lies between two looks counts as `most_seconds` at most."""
        self._most, self._now, self._last = most_seconds, 0.0, time.monotonic()

    def now(self) -> float:
        """Seconds since the beginning."""
        last, self._last = self._last, time.monotonic()
        self._now += min(self._last - last, self._most)
        return self._now


class Watchdog:
    """Watches the thread that makes it.

    Args:
        job: the worker's.
    """

    def __init__(self, job: Job) -> None:
        """Watches nothing yet."""
        self._job = job
        self._thread = threading.get_ident()
        given = job.config.step_timeout
        self._deadlines = Deadlines(given)
        self._tick = min(_TICK_SECONDS, given / 4) if given else _TICK_SECONDS
        self._clock = PatientClock(2 * self._tick + 1.0)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._distributed: DistributedModel | None = None
        self._loops_seen = self._point = 0  # points of training; common ones
        self._first_point_at = self._since = self._next_ask = 0.0
        self._next_line = self._patience
        self._key: tuple[object, ...] = ()
        self._place = Place(START, "starting")
        self._failed_at: list[Frame] = []  # innermost first, once an error ends the run
        self._stacks: TextIO | None = None
        self._inquiry = Inquiry(job.board, lambda: self._look()[0], self._dump)
        self._is_watching = False
        self._may_end = job.board.is_shared or ends_with_the_run()

    @property
    def _patience(self) -> float:
        """Seconds after which people are told of who waits, at the start within its timeout."""
        if self._loops_seen > 1:
            return _LINE_SECONDS
        return min(_LINE_SECONDS, self._job.config.start_timeout)

    @contextlib.contextmanager
    def watching(self) -> Iterator["Watchdog"]:
        """Watches while the body lasts, unless somebody debugs."""
        if stack_of(self._thread)[1]:
            yield self
            return
        thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._is_watching = True
        self._inquiry.answer()
        thread.start()
        try:
            yield self
        finally:
            self.end()
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

    def follow(self, distributed: DistributedModel, logs: Path) -> None:
        """From now on knows how far the training is, and where stacks go.

        Args:
            distributed: what trains.
            logs: folder of the run's logs.
        """
        distributed.points.listeners.append(self._reached)
        path = logs / f"worker-{self._job.cluster.index}.stacks.txt"
        with contextlib.suppress(OSError):  # then they are in the log
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stacks = path.open("a", encoding="utf-8")
        self._distributed = distributed

    def end(self) -> None:
        """Watches no more: the run is as good as over on all workers."""
        if not self._over.is_set():
            self._over.set()
            self._inquiry.end()

    def _unequal_at(self, error: Exception) -> str:
        """What workers have decided otherwise, if their collectives don't fit for it; or ""."""
        if not (self._job.board.is_shared and _UNEQUAL.search(f"{error} {error.__cause__}")):
            return ""
        with self._lock:
            self._failed_at = stack_of_error(error)
        reports = self._inquiry.reports()
        known = [report for report in reports if report is not None]
        if len(known) < len(reports):
            return ""
        return unequal(known, names_of(self._job.cluster.addresses))

    def _reached(self, point: Point) -> None:
        self._point += 1
        if point.loop == "fit":
            self._loops_seen += 1
            if self._loops_seen == 1:
                self._first_point_at = self._clock.now()
            elif self._loops_seen == 2:
                self._deadlines.saw_first_loop(self._clock.now() - self._first_point_at)
                # The limits of the start are over; what comes now may never let a thread look.
                self._set_timer(self._deadlines.of(BETWEEN))

    def _watch(self) -> None:
        try:
            while not self._over.wait(self._tick):
                report, is_debugged = self._look()
                self._arm(report, is_debugged=is_debugged)
                now = self._clock.now()
                is_late = report.left <= 0 and now >= self._next_ask
                is_long = self._job.cluster.is_chief and report.seconds >= self._patience
                if not is_debugged and (is_late or (is_long and now >= self._next_line)):
                    self._ask()
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _look(self) -> tuple[Report, bool]:
        """Where this worker is, and since when; whether somebody debugs it."""
        with self._lock:
            now = self._clock.now()
            frames, is_debugged = self._failed_at, False
            if not frames:
                frames, is_debugged = stack_of(self._thread)
            is_started = self._loops_seen > 1
            place = place_of(frames, is_started=is_started, is_debugged=is_debugged)
            passed = 0 if self._distributed is None else self._distributed.points.passed
            key: tuple[object, ...] = (place.section, passed)
            if place.section not in (START, DATA):
                key += (place.what, place.waits)
            arrived, is_waiting = self._arrived(place, key, now)
            key += (arrived,) if self._key[:-1] == key else (-1,)
            if key != self._key:
                if self._key and self._key[:-1] != key[:-1]:
                    self._deadlines.saw(self._place.section, now - self._since)
                self._key, self._since, self._place = key, now, place
            report = self._report(place, now - self._since, is_waiting=is_waiting)
        return report, is_debugged

    def _arrived(self, place: Place, key: tuple[object, ...], now: float) -> tuple[int, bool]:
        """Batches that a loop of training has come to, and whether it waits for the next one.

        Asked only of a loop that takes long; -1 where it isn't known.
        """
        is_loop = place.is_on_device and self._key[:-1] == key and place.section in (STEP, START)
        if (
            self._distributed is None
            or not is_loop
            or now - self._since < min(_LOOK_CLOSER_SECONDS, self._tick)
        ):
            return -1, False
        return self._distributed.arrivals.now

    def _report(self, place: Place, seconds: float, *, is_waiting: bool) -> Report:
        what, waits = place.what, place.waits
        if place.is_on_device:
            python = in_graph() if seconds >= self._tick else ""
            if is_waiting or python:
                waits = False
                what = "waiting for its input" if is_waiting else "in a loop on its device"
                what += f" ({python})" if python else ""
        distributed = self._distributed
        return Report(
            place.section,
            what,
            seconds,
            self._deadlines.of(place.section),
            waits=waits,
            point=self._point,
            step=0 if distributed is None else distributed.step,
            is_in_fit=place.is_in_fit,
            is_over=self._loops_seen > 0 and not place.is_in_fit,
            is_stopped=distributed is not None and bool(distributed.model.stop_training),
        )

    def _arm(self, report: Report, *, is_debugged: bool) -> None:
        """Sets the timer in C anew: it goes off only where no Python runs any more."""
        limit = max(report.deadline, self._deadlines.of(BETWEEN)) - report.seconds
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
        silent = self._deadlines.of(BETWEEN)
        verdict = judge(reports, addresses, cluster.index, silent=silent)
        now = self._clock.now()
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

    def _end_all(self, verdict: Verdict) -> None:
        self._set_timer(_FAREWELL_SECONDS)
        self._inquiry.have_stacks_written()
        line = verdict.line
        if self._stacks is not None:
            line += f". Stacks of all threads: {Path(self._stacks.name).parent}/worker-*.stacks.txt"
        line += "; --step_timeout sets the limit."
        if self._may_end:
            step = self._distributed.step if self._distributed is not None else None
            self._job.board.end_all(line, FAILURE_CODE, Kind.STANDSTILL, step)
        self._job.terminal.complain(line)
        self._next_ask = self._clock.now() + _LINE_SECONDS


def _remove_if_empty(path: Path) -> None:
    with contextlib.suppress(OSError):
        if not path.stat().st_size:
            path.unlink()
