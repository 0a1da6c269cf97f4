"""Where a worker's main thread is, and since when, for a thread that looks once a second."""

import threading
import time
from dataclasses import dataclass

from tfscale.fit.loop.events import Point
from tfscale.fit.prepare_job import Prepared
from tfscale.health.deadlines import DATA, START, STEP, Deadlines
from tfscale.health.hang_verdict import Report
from tfscale.health.stack_section import Frame, Place, in_graph, place_of, stack_of, stack_of_error

_LOOK_CLOSER_SECONDS = 3.0  # a loop that goes on for so long is asked how far it is


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


@dataclass
class _Stay:
    """In one place.

    Args:
        place: where.
        key: what differs as soon as the thread is elsewhere.
        since: seconds of the clock.
    """

    place: Place
    key: tuple[object, ...] = ()
    since: float = 0.0


class Lookout:
    """Looks at the thread that makes it.

    Args:
        step_timeout: seconds, as of `Deadlines`.
        tick_seconds: from one look to the next.

    Attributes:
        deadlines: of each section.
        clock: patient.
        loops_seen: points of training.
    """

    def __init__(self, step_timeout: float, tick_seconds: float) -> None:
        self.deadlines = Deadlines(step_timeout)
        self.clock = PatientClock(2 * tick_seconds + 1.0)
        self.loops_seen = 0
        self._thread = threading.get_ident()
        self._tick = tick_seconds
        self._lock = threading.Lock()
        self._failed_at: list[Frame] = []  # innermost first, once an error ends the run
        self._prepared: Prepared | None = None
        self._points = 0  # that all workers have in common
        self._first_point_at = 0.0
        self._stay = _Stay(Place(START, "starting"))

    @property
    def is_debugged(self) -> bool:
        """Whether somebody sits in a debugger."""
        return stack_of(self._thread)[1]

    @property
    def step(self) -> int | None:
        """Training steps so far; None before training."""
        return None if self._prepared is None else self._prepared.distributed.step

    def follow(self, prepared: Prepared) -> None:
        """From now on knows how far the training is."""
        self._prepared = prepared

    def fail(self, error: BaseException) -> None:
        """From now on is where an error came from."""
        with self._lock:
            self._failed_at = stack_of_error(error)

    def at_point(self, point: Point) -> bool:
        """Counts a point; tells whether the start is over with it."""
        self._points += 1
        if point.loop != "fit":
            return False
        self.loops_seen += 1
        if self.loops_seen == 1:
            self._first_point_at = self.clock.now()
        elif self.loops_seen == 2:
            self.deadlines.saw_first_loop(self.clock.now() - self._first_point_at)
        return self.loops_seen == 2

    def look(self) -> tuple[Report, bool]:
        """Where the worker is, and since when; whether somebody debugs it."""
        with self._lock:
            now, stay = self.clock.now(), self._stay
            frames, is_debugged = self._failed_at, False
            if not frames:
                frames, is_debugged = stack_of(self._thread)
            is_started = self.loops_seen > 1
            place = place_of(frames, is_started=is_started, is_debugged=is_debugged)
            passed = 0 if self._prepared is None else self._prepared.distributed.ends.passed
            key: tuple[object, ...] = (place.section, passed)
            if place.section not in (START, DATA):
                key += (place.what, place.waits)
            waited, is_waiting = self._waited(place, key, now)
            key += (waited,) if stay.key[:-1] == key else (-1,)
            if key != stay.key:
                if stay.key and stay.key[:-1] != key[:-1]:
                    self.deadlines.saw(stay.place.section, now - stay.since)
                self._stay = stay = _Stay(place, key, now)
            report = self._report(place, now - stay.since, is_waiting=is_waiting)
        return report, is_debugged

    def _waited(self, place: Place, key: tuple[object, ...], now: float) -> tuple[float, bool]:
        """What differs after each batch of a loop of training, and whether it waits for the next.

        Asked only of a loop that takes long; -1 where it isn't known.
        """
        stay = self._stay
        is_loop = place.is_on_device and stay.key[:-1] == key and place.section in (STEP, START)
        if (
            self._prepared is None
            or not is_loop
            or now - stay.since < min(_LOOK_CLOSER_SECONDS, self._tick)
        ):
            return -1, False
        return self._prepared.distributed.loop.input_wait.now

    def _report(self, place: Place, seconds: float, *, is_waiting: bool) -> Report:
        what, waits = place.what, place.waits
        if place.is_on_device:
            python = in_graph() if seconds >= self._tick else ""
            if is_waiting or python:
                waits = False
                what = "waiting for its input" if is_waiting else "in a loop on its device"
                what += f" ({python})" if python else ""
        return Report(
            place.section,
            what,
            seconds,
            self.deadlines.of(place.section),
            waits=waits,
            point=self._points,
            step=self.step or 0,
            is_in_fit=place.is_in_fit,
            is_over=self.loops_seen > 0 and not place.is_in_fit,
            is_stopped=self._prepared is not None and bool(self._prepared.model.stop_training),
        )
