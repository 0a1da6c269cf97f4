"""Keeps the times of a run: of its steps, of its first step, and of its evaluations."""

import time
from typing import Any

import keras

from tfscale.fit.boundary import Boundary
from tfscale.fit.distributed_model import DistributedModel
from tfscale.report.step_times import Block, StepTimes


class Pace(keras.callbacks.Callback):
    """Feeds each boundary's figures into `StepTimes`.

    Args:
        distributed: whose boundaries are kept.
    """

    every_batch = False  # what it keeps is of boundaries

    def __init__(self, distributed: DistributedModel) -> None:
        """Starts the clock."""
        super().__init__()
        self.times = StepTimes()
        self.seconds_to_first_step: float | None = None
        self.evaluate_seconds = 0.0
        self._distributed = distributed
        self.started = time.perf_counter()
        self._evaluation_started = self.started

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Keeps what the on-device loop that just ended took, on the slowest worker."""
        if self.seconds_to_first_step is None:
            self.seconds_to_first_step = time.perf_counter() - self.started
        boundary = self._distributed.boundary
        if boundary is not None:
            self.times.add(block_of(boundary))

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock of an evaluation."""
        self._evaluation_started = time.perf_counter()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Adds the time of an evaluation."""
        self.evaluate_seconds += time.perf_counter() - self._evaluation_started


def block_of(boundary: Boundary) -> Block:
    """What the figures of all workers say about the steps that they took together."""
    return Block(
        steps=boundary.steps,
        seconds=float(boundary.seconds.max()),
        input_wait_seconds=float(boundary.input_wait_seconds.mean()),
        exposed_seconds=float(boundary.exposed_seconds.mean()),
        travel_seconds=float(boundary.travel_seconds.mean()),
    )
