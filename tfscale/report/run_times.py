"""Keeps the times of a run: of its steps, of its first step, and of its evaluations."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import astuple

import numpy as np

from tfscale.fit.loop.events import Boundary, EpochEnd, Point
from tfscale.fit.prepare_job import Prepared
from tfscale.listener import Listener
from tfscale.report.step_times import Block, StepTimes
from tfscale.startup.job import Job
from tfscale.structures import Json


class Pace(Listener):
    """Feeds each boundary's figures into `StepTimes`.

    Attributes:
        times: of the steps.
        seconds_to_first_step: of this start, None before it.
        evaluate_seconds: spent in evaluations.
        began: `time.perf_counter` when this start of the run began.
        started: likewise its training.
        first_start: seconds since 1970 when the training began that may have resumed since.
        starts: how often it has begun or resumed.
    """

    def __init__(self) -> None:
        """Starts the clock of the run."""
        self.began = time.perf_counter()
        self.times = StepTimes()
        self.first_start = time.time()
        self.starts = 1
        self.seconds_to_first_step: float | None = None
        self.evaluate_seconds = 0.0
        self.started = self._trained = self.began

    def begin(self, job: Job, prepared: Prepared) -> None:
        """Starts the clocks of the training: what came before is no part of it."""
        self.first_start = time.time()
        self.started = self._trained = time.perf_counter()

    def at_boundary(self, boundary: Boundary) -> None:
        """Keeps what the on-device loop that just ended took, on the slowest worker."""
        if self.seconds_to_first_step is None:
            self.seconds_to_first_step = time.perf_counter() - self.started
        # The first loop of a run that resumes is as cold as that of the one before.
        if boundary.is_warm or not self.times.blocks:
            self.times.add(block_of(boundary))

    def at_point(self, point: Point) -> None:
        """Looks at the clock: what comes between an epoch's last loop and its end is validation."""
        if point.loop == "fit":
            self._trained = time.perf_counter()

    def at_epoch_end(self, end: EpochEnd) -> None:
        """Adds the time of the epoch's validation."""
        self.evaluate_seconds += time.perf_counter() - self._trained

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Adds the time of the body, an evaluation after training."""
        began = time.perf_counter()
        yield
        self.evaluate_seconds += time.perf_counter() - began

    def get_state(self) -> dict[str, Json]:
        """What a checkpoint holds: the times are those of the training, however often it began."""
        return {
            "blocks": np.asarray([astuple(block) for block in self.times.blocks], np.float64),
            "evaluate_seconds": self.evaluate_seconds,
            "first_start": self.first_start,
            "starts": self.starts,
        }

    def set_state(self, state: Mapping[str, Json]) -> None:
        """Continues with the times of the run before."""
        self.times = StepTimes()
        for steps, *seconds in state["blocks"]:
            self.times.add(Block(int(steps), *map(float, seconds)))
        self.evaluate_seconds += state["evaluate_seconds"]
        self.first_start, self.starts = state["first_start"], state["starts"] + 1

    def seconds_until(self, saving: float) -> dict[str, float]:
        """Seconds of each part of this start of the run, by its name.

        Args:
            saving: `time.perf_counter` when all was trained and evaluated, and saving began.
        """
        now, startup = time.perf_counter(), self.started - self.began
        return {
            "startup": startup,
            "to_first_step": startup + (self.seconds_to_first_step or 0.0),
            "train": saving - self.started - self.evaluate_seconds,
            "evaluate": self.evaluate_seconds,
            "checkpoint": now - saving,
            "total": now - self.began,
        }

    def report(self) -> dict[str, Json]:
        """How much of the time since training first began was spent in steps, over all starts."""
        spent = max(time.time() - self.first_start, 1e-9)
        return {"goodput": self.times.useful_seconds / spent, "starts": self.starts}


def block_of(boundary: Boundary) -> Block:
    """What the figures of all workers say about the steps that they took together."""
    return Block(
        steps=boundary.steps,
        seconds=float(boundary.seconds.max()),
        input_wait_seconds=float(boundary.input_wait_seconds.mean()),
        exposed_seconds=float(boundary.exposed_seconds.mean()),
        travel_seconds=float(boundary.travel_seconds.mean()),
    )
