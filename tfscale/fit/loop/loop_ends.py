"""Who is told where an on-device loop ends, and where loops have to end."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras

from tfscale.fit.loop.events import Boundary, EpochEnd, Point


class Hearer(Protocol):
    """Whoever is told; `tfscale.Listener` says when and why."""

    def at_boundary(self, boundary: Boundary) -> None:
        """A loop of training has ended."""

    def at_point(self, point: Point) -> None:
        """All callbacks have seen the loop."""

    def at_epoch_end(self, end: EpochEnd) -> None:
        """An epoch has ended."""


@dataclass(frozen=True)
class Resumed:
    """Where a training resumes.

    Args:
        done: batches of its epoch that are over.
        taken: training steps of all its epochs that are over.
    """

    done: int = 0
    taken: int = 0


class LoopEnds:
    """Tells listeners of every event, on every worker in the same order; each may raise.

    Args:
        every: training steps at whose multiples a loop ends; 0 for none.

    Attributes:
        passed: points that this worker has come to, also where it evaluates alone and tells nobody.
    """

    def __init__(self, every: int = 0) -> None:
        self.passed = 0
        self._every = every
        self._listeners: Sequence[Hearer] = ()
        self._resume: Callable[[], Resumed] | None = None

    @contextlib.contextmanager
    def told_to(
        self, listeners: Sequence[Hearer], resume: Callable[[], Resumed] | None = None
    ) -> Iterator[None]:
        """In the body listeners are told, in their order.

        Args:
            listeners: the same ones on every worker.
            resume: puts the training where an earlier run has left it; called once, when all
                callbacks have seen the beginning of the first epoch.
        """
        self._listeners, self._resume = tuple(listeners), resume
        try:
            yield
        finally:
            self._listeners, self._resume = (), None

    def begin(self) -> Resumed:
        """Where the epoch begins that training begins with."""
        resume, self._resume = self._resume, None
        return Resumed() if resume is None else resume()

    def at_boundary(self, boundary: Boundary) -> None:
        """Tells all of a loop's end, before callbacks see it."""
        for listener in self._listeners:
            listener.at_boundary(boundary)

    def at_point(self, point: Point) -> None:
        """Tells all of a point, which callbacks have seen."""
        for listener in self._listeners:
            listener.at_point(point)

    def at_epoch_end(self, end: EpochEnd) -> None:
        """Tells all of an epoch's end."""
        for listener in self._listeners:
            listener.at_epoch_end(end)

    def most_steps(self, step: int, wanted: int) -> int:
        """How many of the wanted steps may be taken after `step` without missing a loop's end."""
        return min(wanted, self._every - step % self._every) if self._every else wanted


class EpochEnds(keras.callbacks.Callback):
    """Tells of each epoch's end, for which Keras calls callbacks alone.

    Args:
        ends: tells listeners.
        step: gives training steps so far.
    """

    def __init__(self, ends: LoopEnds, step: Callable[[], int]) -> None:
        super().__init__()
        self._ends, self._step = ends, step

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Tells all of it, with logs that nobody can change."""
        self._ends.at_epoch_end(EpochEnd(epoch, self._step(), dict(logs or {})))
