"""Whether what has failed is started again, and after how long."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from tfscale.errors import End, Kind, is_retryable

CRASH_LOOP = 3  # failures in a row without progress
MOST_ABSENCES = 10  # times in a row that the others did not come: 20 minutes by default
LONGEST_PAUSE = 60.0  # seconds
_STEADY_SECONDS = 600.0  # of an attempt, where nobody sees whether it made progress
_JITTER = 0.1  # share of a pause, so that the supervisors of many nodes don't come all at once


@dataclass(frozen=True)
class Decision:
    """What becomes of a run whose attempt has ended.

    Args:
        pause_seconds: until the next attempt; None if there is none.
        why: in a few words.
    """

    pause_seconds: float | None
    why: str


class Budget:
    """Counts failures in a row, and starts over as soon as the run has made progress.

    A worker that waited in vain for the others has waited `--start_timeout` and done no harm: such
    ends neither use up the restarts nor count for a crash loop. They have a number of their own, so
    that a node which never comes back ends the rest where nothing else can tell them.

    Args:
        restarts: how many there may be in a row without progress.
        jitter: gives -1 to 1.
    """

    def __init__(
        self,
        restarts: int,
        jitter: Callable[[], float] = lambda: random.SystemRandom().uniform(-1.0, 1.0),
    ) -> None:
        """Begins with nothing used up."""
        self._restarts = restarts
        self._jitter = jitter
        self._step: int | None = None
        self._last = End.of(0)
        self._failures = 0
        self._absences = 0

    def after(self, end: End, step: int | None, *, seconds: float, sees_progress: bool) -> Decision:
        """Decides about the next attempt.

        Args:
            end: of the attempt. One that belongs to a step, and is of the same kind at the same
                step as the last one, is no progress, whatever was saved on the way there.
            step: the highest one that the run has committed so far; None for none.
            seconds: that the attempt lasted.
            sees_progress: whether `step` can be known here. Where it can't, an attempt of ten
                minutes counts as progress.
        """
        if not is_retryable(end.code):
            is_refusal = end.kind is Kind.CONFIGURATION
            why = "the same command can't work" if is_refusal else "it was meant to end"
            return Decision(None, why)
        last, self._last = self._last, end
        is_same = end.step is not None and (end.kind, end.step) == (last.kind, last.step)
        if not is_same:
            self._note_progress(end.kind, step, seconds, sees_progress=sees_progress)
        if self._restarts == 0:
            return Decision(None, "--restarts=0")
        if end.kind is Kind.START_TIMEOUT:
            self._absences += 1
            if self._absences >= MOST_ABSENCES:
                return Decision(None, f"the others did not come {MOST_ABSENCES} times in a row")
            return Decision(self._pause(1), f"wait {self._absences + 1} of {MOST_ABSENCES}")
        self._failures += 1
        if self._failures >= CRASH_LOOP:
            return Decision(None, f"{CRASH_LOOP} failures in a row without progress")
        if self._failures > self._restarts:
            return Decision(None, f"--restarts={self._restarts} used up without a new checkpoint")
        return Decision(
            self._pause(self._failures),
            f"restart {self._failures} of {min(self._restarts, CRASH_LOOP - 1)} without progress",
        )

    def _note_progress(
        self, kind: Kind, step: int | None, seconds: float, *, sees_progress: bool
    ) -> None:
        has_stepped = step is not None and (self._step is None or step > self._step)
        is_steady = seconds >= _STEADY_SECONDS and kind is not Kind.START_TIMEOUT
        if has_stepped or (is_steady and not sees_progress):
            self._failures = self._absences = 0
        if has_stepped:
            self._step = step

    def _pause(self, failures: int) -> float:
        """1, 2, 4 ... seconds, a little more or less."""
        return min(LONGEST_PAUSE, 2.0 ** (failures - 1)) * (1.0 + _JITTER * self._jitter())
