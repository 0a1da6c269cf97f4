"""Invented times: of blocks of steps, and of a boundary of two workers."""

from types import SimpleNamespace

import numpy as np

from tfscale.fit.loop.events import Boundary
from tfscale.gradients.reducer import Traffic
from tfscale.report.step_times import Block, StepTimes


def times_of(*blocks):
    """Of some blocks of steps: steps, seconds and how many of those each waited, and so on."""
    times = StepTimes()
    for block in blocks:
        times.add(Block(*block))
    return times


def boundary_of(step=10, steps=10, seconds=(2.0, 4.0), waited=(0.5, 2.0), is_warm=True, logs=None):
    """Two workers, each with a figure for the load and one for the memory."""
    figures = np.array([[50.0, 100.0], [60.0, 200.0]])
    return Boundary(
        step,
        steps,
        seconds=np.array(seconds),
        input_wait_seconds=np.array(waited),
        exposed_seconds=np.array([0.5, 0.5]),
        travel_seconds=np.array([1.0, 3.0]),
        figures=figures,
        is_warm=is_warm,
        logs=logs or {},
    )


def distributed_with(model=None):
    return SimpleNamespace(
        model=model,
        parts=SimpleNamespace(traffic=Traffic(sent_bytes=3e8)),
        loop=SimpleNamespace(figures=SimpleNamespace(names=["load", "memory"])),
    )
