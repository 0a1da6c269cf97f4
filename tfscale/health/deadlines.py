"""How long a worker may stand still: for each thing that it does, learned from the run.

A limit that kills a run which only is slow does more harm than a minute's wait. So each section
has a limit of its own: five times the longest that was seen, never below a floor, and half an hour
as long as nothing was seen. A hook of a callback is a section by its name: saving a large model now
and then in `on_epoch_end`, or every thousandth batch, must not be taken for a hang.
"""

import math

DATA, START, STEP, EVALUATION, SAVING, END = "data start step evaluation saving end".split()
BETWEEN = "on_train_batch_end"  # also what lies between two steps and isn't a callback

_UNSEEN_SECONDS = 1800.0
_TIMES_THE_LONGEST = 5.0
_FLOOR_SECONDS = 60.0  # of what runs on the device
_FLOOR_OF_PYTHON_SECONDS = 600.0
_TIMES_A_STEP = 10.0  # what isn't a step may take, of what somebody has said about steps


class Deadlines:
    """The limits of one worker.

    Args:
        step_timeout: seconds that a step, and what callbacks do after it, may take: --step_timeout;
            0 to learn them. Evaluations, and callbacks' hooks of epochs, get ten times as much;
            start and saving too, but at least half an hour.
    """

    def __init__(self, step_timeout: float = 0.0) -> None:
        self._step_timeout = step_timeout
        self._longest: dict[str, float] = {}
        self._first_loop = _UNSEEN_SECONDS / _TIMES_THE_LONGEST

    def saw(self, section: str, seconds: float) -> None:
        """Learns how long something took that came to its end."""
        self._longest[section] = max(seconds, self._longest.get(section, 0.0))

    def saw_first_loop(self, seconds: float) -> None:
        """Learns how long the first steps took with their tracing, before a second one is seen."""
        self._first_loop = seconds

    def of(self, section: str) -> float:
        """Seconds after which nobody waits any more; infinite for reading data at the start.

        What `load` downloads may take as long as it takes.
        """
        if section == DATA:
            return math.inf
        given, is_step = self._step_timeout, section == STEP or "_batch_" in section
        if given:
            ten_times = _TIMES_A_STEP * given
            if section in (START, SAVING, END):
                return max(_UNSEEN_SECONDS, ten_times)
            return given if is_step else ten_times
        if section == START:
            return _UNSEEN_SECONDS
        longest = self._longest.get(section)
        on_device = section in (STEP, EVALUATION)
        floor = _FLOOR_SECONDS if on_device else _FLOOR_OF_PYTHON_SECONDS
        if longest is None:
            longest = self._first_loop if section == STEP else 0.0
            if not is_step:
                floor = _UNSEEN_SECONDS
        return max(floor, _TIMES_THE_LONGEST * longest)
