"""What workers are told between two on-device loops: one immutable event for each occasion.

All workers come to the same ones in the same order, and what stands in them is the same on every
worker. Between two loops a run can be looked at as a whole: nothing is on its way, and everything
that a step changes has been changed by all steps before and by none after.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tfscale.fit.loop.verdict import Verdict
from tfscale.structures import Json

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Point:
    """Where a run is.

    Args:
        loop: "fit", "validation" (Keras's, between two epochs), or "evaluate" and "predict" of
            somebody who called them.
        done: batches of the epoch, or of the evaluation, that are over.
        steps: batches that it has, None where only its end tells.
        step: training steps since the start of training.
    """

    loop: str
    done: int
    steps: int | None
    step: int = 0


@dataclass(frozen=True)
class Boundary:
    """The end of an on-device loop of training, with what it has brought.

    Args:
        step: steps since the start of training, this loop's included.
        steps: of this loop.
        seconds: that the loop took on each worker, float64 (num_workers,).
        input_wait_seconds: of these, spent waiting for input, float64 (num_workers,).
        exposed_seconds: of these, in which gradients travelled and backward was over, float64
            (num_workers,).
        travel_seconds: in which gradients travelled at all, float64 (num_workers,).
        figures: what `measure` gave on each worker, float64 (num_workers, n).
        is_warm: False for a loop that includes tracing.
        logs: what a step of the loop returned, over all replicas, by Keras's names.
        verdict: about the steps; None where nobody has looked.
    """

    step: int
    steps: int
    seconds: "np.ndarray"
    input_wait_seconds: "np.ndarray"
    exposed_seconds: "np.ndarray"
    travel_seconds: "np.ndarray"
    figures: "np.ndarray"
    is_warm: bool
    logs: Mapping[str, Json] = field(default_factory=dict)
    verdict: Verdict | None = None

    @property
    def step_seconds(self) -> float:
        """Seconds of one step of this loop on the slowest worker, for which all others wait."""
        return float(self.seconds.max()) / self.steps


@dataclass(frozen=True)
class EpochEnd:
    """The end of an epoch, its validation included.

    Args:
        epoch: which, from 0.
        step: training steps since the start of training.
        logs: of the epoch by Keras's names, before callbacks of the user's own add theirs.
    """

    epoch: int
    step: int
    logs: Mapping[str, Json]
