"""Why a step waits for its input: how fast each stage of making batches is by itself."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import tensorflow as tf

from tfscale.data.batching import unread, without_autotune
from tfscale.data.feed import Input

_SECONDS = 0.3  # for each stage
_ENOUGH = 1.2  # times what the steps take: then it isn't the input's speed
_ADVICE = {
    "reading": (
        "bring the data to a local disk, or write it once as shards with launch/prepare.py; "
        "--cache=memory keeps examples that are the same in each epoch"
    ),
    "preprocessing": (
        "do less of it in preprocess (fused decoding, smaller images, uint8 until the model), "
        "--cache=memory if its examples are the same in each epoch, or use more cores a worker"
    ),
    "batching": "give smaller examples to the model: uint8 instead of float32, and cast them there",
}


@dataclass(frozen=True)
class Stages:
    """What the input of one worker can do.

    Args:
        rates: examples a second by stage, each with those before it: "reading", "preprocessing",
            "batching" (which copies).
        taken: examples a second that this worker's steps would take without waiting.
    """

    rates: Mapping[str, float]
    taken: float

    @property
    def cause(self) -> str:
        """The stage that costs most; "start" if all of them together are fast enough."""
        if self.rates["batching"] > _ENOUGH * self.taken:
            return "start"
        before, costs = 0.0, {}
        for name, rate in self.rates.items():
            costs[name] = 1 / rate - before
            before = 1 / rate
        return max(costs, key=costs.__getitem__)

    @property
    def hint(self) -> str:
        """The cause, and what helps."""
        cause = self.cause
        if cause == "start":
            return "only when an input starts, or now and then: it makes enough examples"
        made = min(self.rates.values())
        return (
            f"{cause} is the slowest stage: {made:,.0f} examples/s are made, the steps of a worker "
            f"would take {self.taken:,.0f}; {_ADVICE[cause]}"
        )


def measure(given: Input, taken: float) -> Stages:
    """Times the stages of an input that isn't read meanwhile, one after the other.

    Args:
        given: the input, whose first records are read once more for each stage.
        taken: examples a second that this worker's steps would take without waiting.
    """
    rates = {name: _rate(stage, size) for name, (stage, size) in given.stages().items()}
    # A stage contains those before it, and can only seem to be faster.
    lowest = float("inf")
    for name, rate in rates.items():
        lowest = rates[name] = min(rate, lowest)
    return Stages(rates, taken)


@tf.autograph.experimental.do_not_convert  # the user's functions come converted
def _rate(stage: tf.data.Dataset, examples_each: int) -> float:
    """Examples a second of a stage, without its start."""
    chunk = max(1, 32 // examples_each)
    chunks = iter(without_autotune(unread(stage).batch(chunk)))
    next(chunks)
    began, done, now = time.perf_counter(), 0, 0.0
    while now < _SECONDS:
        next(chunks)
        done += 1
        now = time.perf_counter() - began
    return done * chunk * examples_each / now
