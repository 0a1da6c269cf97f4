"""The points between two on-device loops, which all workers pass in the same order.

Here a run can be looked at as a whole: nothing is on its way, and everything that a step changes
has been changed by all steps before and by none after. Checkpoints are taken here and begun from
here, and here a run ends that somebody stops.
"""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Point:
    """Where a run is.

    Args:
        loop: "fit", "validation" (Keras's, between two epochs), or "evaluate" and "predict" of
            somebody who called them.
        done: batches of the epoch, or of the evaluation, that are over.
        steps: batches that it has, None where only its end tells.
    """

    loop: str
    done: int
    steps: int | None


@dataclass(frozen=True)
class Resumed:
    """Where a training goes on.

    Args:
        done: batches of its epoch that are over.
        taken: training steps of all its epochs that are over.
    """

    done: int = 0
    taken: int = 0


@dataclass
class Points:
    """Who wants to know of points.

    Args:
        listeners: are told each point, on every worker in the same order; they may raise.
        resume: puts the run where an earlier one has left it; called once, when all callbacks have
            seen the beginning of the first epoch.
        every: training steps at whose multiples a loop ends; 0 for none.
        passed: how many this worker has come to, also where it evaluates alone and tells nobody.
    """

    listeners: list[Callable[[Point], None]] = field(default_factory=list)
    resume: Callable[[], Resumed] | None = None
    every: int = 0
    passed: int = 0

    def begin(self) -> Resumed:
        """Where the epoch begins that training begins with."""
        resume, self.resume = self.resume, None
        return Resumed() if resume is None else resume()

    def reached(self, point: Point) -> None:
        """Tells everybody."""
        for listener in self.listeners:
            listener(point)

    def most_steps(self, step: int, wanted: int) -> int:
        """How many of the wanted steps may be taken after `step` without missing a point."""
        return min(wanted, self.every - step % self.every) if self.every else wanted
