"""Which steps of an on-device loop weren't finite, and which were skipped."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_NAMES = ("nan", "inf", "-inf")
_NOWHERE = -1.0  # the place of a step that isn't there


@dataclass(frozen=True)
class Finding:
    """The first step of an on-device loop whose loss isn't finite, or its last step.

    Args:
        step: its number in the run; the first one is 1.
        worker: whose loss it is, the first of several.
        replica: of that worker, from 0.
        loss: "nan", "inf" or "-inf"; "" if losses are finite and the weights after the loop aren't.
    """

    step: int
    worker: int
    replica: int
    loss: str


@dataclass(frozen=True)
class Verdict:
    """What a guard has found in an on-device loop, the same on every worker.

    Args:
        before: steps of the run before the loop.
        steps: of the loop.
        rows: float64 (num_workers, 4): the first bad step's place in the loop or -1, the replica
            of that worker, which kind its loss is, and whether its weights aren't finite.
        skipped: places in the loop of the steps that were skipped.
    """

    before: int
    steps: int
    rows: "np.ndarray"
    skipped: tuple[int, ...] = ()

    def finding(self) -> Finding | None:
        """The first step after which training can't continue; None if there is none."""
        rows = self.rows.tolist()
        bad = [(row[0], worker) for worker, row in enumerate(rows) if row[0] > _NOWHERE]
        if bad:
            place, worker = min(bad)
            replica, kind = int(rows[worker][1]), int(rows[worker][2])
            return Finding(self.before + int(place) + 1, worker, replica, _NAMES[kind])
        for worker, row in enumerate(rows):
            if row[3]:
                return Finding(self.before + self.steps, worker, 0, "")
        return None

    @property
    def skipped_steps(self) -> list[int]:
        """Numbers of the skipped steps in the run; the first one is 1."""
        return [self.before + place + 1 for place in self.skipped]
