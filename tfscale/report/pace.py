"""Keeps the times of a run: of its steps, of its first step, and of its evaluations."""

import time
from dataclasses import astuple
from typing import Any

import keras
import numpy as np

from tfscale.fit.boundary import Boundary
from tfscale.fit.distributed_model import DistributedModel
from tfscale.report.step_times import Block, StepTimes


class Pace(keras.callbacks.Callback):
    """Feeds each boundary's figures into `StepTimes`.

    Args:
        distributed: whose boundaries are kept.

    Attributes:
        times: of the steps.
        seconds_to_first_step: of this start, None before it.
        evaluate_seconds: spent in evaluations.
        started: `time.perf_counter` when this start's training began.
        first_start: seconds since 1970 when the training began that may have gone on since.
        starts: how often it has begun or gone on.
    """

    every_batch = False  # what it keeps is of boundaries

    def __init__(self, distributed: DistributedModel) -> None:
        """Starts the clock."""
        super().__init__()
        self.times = StepTimes()
        self.first_start = time.time()
        self.starts = 1
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
        # The first loop of a run that goes on is as cold as that of the one before.
        if boundary is not None and (boundary.is_warm or not self.times.blocks):
            self.times.add(block_of(boundary))

    def get_state(self) -> dict[str, Any]:
        """What a checkpoint holds: the times are those of the training, however often it began."""
        return {
            "blocks": np.asarray([astuple(block) for block in self.times.blocks], np.float64),
            "evaluate_seconds": self.evaluate_seconds,
            "first_start": self.first_start,
            "starts": self.starts,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on with the times of the run before."""
        self.times = StepTimes()
        for steps, *seconds in state["blocks"]:
            self.times.add(Block(int(steps), *map(float, seconds)))
        self.evaluate_seconds += state["evaluate_seconds"]
        self.first_start, self.starts = state["first_start"], state["starts"] + 1

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
