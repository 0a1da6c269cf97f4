"""Whether what has failed is started again, and after how long."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from tfscale.errors import CONFIG_CODE, START_TIMEOUT_CODE, is_retryable

CRASH_LOOP = 3  # failures in a row without progress
MOST_ABSENCES = 10  # times in a row that the others did not come: 20 minutes by default
LONGEST_PAUSE = 60.0  # seconds
_STEADY_SECONDS = 600.0  # of an attempt, where nobody sees whether it made progress
_AT_A_STEP = re.compile(r"\bstep \d")
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
    """Counts failures in a row, and begins anew as soon as the run has made progress.

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
        self._words = ""
        self._failures = 0
        self._absences = 0

    def after(
        self,
        code: int,
        step: int | None,
        *,
        seconds: float,
        sees_progress: bool,
        words: str = "",
    ) -> Decision:
        """Decides about the next attempt.

        Args:
            code: the shell's exit code of the attempt that has ended.
            step: the highest one that the run has committed so far; None for none.
            seconds: that the attempt lasted.
            sees_progress: whether `step` can be known here. Where it can't, an attempt of ten
                minutes counts as progress.
            words: the reason that a worker has said. Where it names a step and is the same as
                last time up to the first semicolon, behind which stands what is left, the run has
                not come further, whatever was saved on the way there.
        """
        if not is_retryable(code):
            why = "the same command can't work" if code == CONFIG_CODE else "it was meant to end"
            return Decision(None, why)
        words = words.partition("; ")[0]
        is_same = words == self._words and bool(_AT_A_STEP.search(words))
        self._words = words
        if not is_same:
            self._note_progress(code, step, seconds, sees_progress=sees_progress)
        if self._restarts == 0:
            return Decision(None, "--restarts=0")
        if code == START_TIMEOUT_CODE:
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
        self, code: int, step: int | None, seconds: float, *, sees_progress: bool
    ) -> None:
        has_stepped = step is not None and (self._step is None or step > self._step)
        is_steady = seconds >= _STEADY_SECONDS and code != START_TIMEOUT_CODE
        if has_stepped or (is_steady and not sees_progress):
            self._failures = self._absences = 0
        if has_stepped:
            self._step = step

    def _pause(self, failures: int) -> float:
        """1, 2, 4 ... seconds, a little more or less."""
        return min(LONGEST_PAUSE, 2.0 ** (failures - 1)) * (1.0 + _JITTER * self._jitter())
