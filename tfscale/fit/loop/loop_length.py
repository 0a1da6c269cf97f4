"""How many steps the loop on the device takes before Python is entered again."""

import math

from tfscale.errors import ConfigError
from tfscale.fit.loop.events import Boundary

_MOST_STEPS = 10_000
_GROWTH_PER_DECISION = 8
_FEWEST_STEPS = 8
_PATIENCE = 5  # times the wanted time between two visits to Python


class LoopLength:
    """How many steps a loop takes, the same on every worker.

    Args:
        flag: of --steps_per_execution, 0 for not given.
        compiled: of `compile(steps_per_execution=...)`, whose default is 1.

    Attributes:
        fixed: what somebody has said; 0 where nobody has.
        steps: of the next loop.

    Raises:
        ConfigError: two have said something else.
    """

    def __init__(self, flag: int, compiled: int) -> None:
        """Begins with one step, whose time nobody knows."""
        self.fixed = fixed_steps_per_call(flag, compiled)
        self.steps = self.fixed or 1

    def fit_to(self, boundary: Boundary) -> None:
        """Adapts to the time that the last loop took."""
        if boundary.is_warm and not self.fixed:
            self.steps = next_steps_per_call(self.steps, boundary.step_seconds, limit=_MOST_STEPS)


def next_steps_per_call(
    current: int, step_seconds: float, target_seconds: float = 1.0, *, limit: int
) -> int:
    """Decide how many steps the loop on the device takes before Python is entered again.

    Often enough for a progress bar and for Ctrl-C, seldom enough to cost nothing: the wanted time,
    or eight steps if these are within five times the wanted time. The steps hold
    collectives, so every worker must take the same number: the result depends on the arguments
    alone, and the caller gives every worker the same ones (the chief's time, not its own).

    Args:
        current: how many it takes now, at least 1.
        step_seconds: measured time of one step, at least 0 (a clock may be too coarse for it).
        target_seconds: wanted time between two visits to Python, above 0.
        limit: most steps allowed, at least 1 (for example those left in the epoch).

    Returns:
        1 to `limit`, and at most 8 times `current`: one wrong time, such as that of a first step
        from a cache, must not lock Python out for minutes.

    Raises:
        ValueError: a number out of its range.
    """
    if current < 1 or limit < 1 or not step_seconds >= 0 or not target_seconds > 0:
        raise ValueError(
            f"next_steps_per_call({current=}, {step_seconds=}, {target_seconds=}, {limit=}) cannot "
            "decide; expected current and limit >= 1, step_seconds >= 0 and target_seconds > 0."
        )
    most = min(limit, current * _GROWTH_PER_DECISION)
    fitting = target_seconds / step_seconds if step_seconds > 0 else math.inf
    # A visit costs some 10 ms: long steps are counted rather than timed, within patience.
    patient = min(_FEWEST_STEPS, _PATIENCE * fitting)
    return max(1, int(min(most, max(fitting, patient))))


def fixed_steps_per_call(flag: int, compiled: int) -> int:
    """What somebody has said about the steps of a loop; 0 where nobody has.

    Args:
        flag: of --steps_per_execution, 0 for not given.
        compiled: of `compile(steps_per_execution=...)`, whose default is 1.

    Raises:
        ConfigError: two have said something else.
    """
    if compiled == 1:
        return flag
    if flag not in (0, compiled):
        raise ConfigError(
            f"--steps_per_execution={flag} and compile(steps_per_execution={compiled}) both say "
            "how many steps a loop takes; expected one of them. Leave the flag out."
        )
    return compiled
