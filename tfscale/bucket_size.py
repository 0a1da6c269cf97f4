"""How large a bucket should be: from what an all-reduce costs on the links at hand."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import tensorflow as tf

from tfscale.communication import time_of
from tfscale.config import Config
from tfscale.coordination import Board

_SMALL, _LARGE = 256, 2**20  # float32 elements
_REPETITIONS = 8
_SMALLEST, _LARGEST = 2**19, 2**26  # bytes
_STEP = 2**18


@dataclass(frozen=True)
class LinkTimes:
    """What all-reduces of float32 took, the mean of all workers.

    Args:
        small_seconds: of one kibibyte: all of it is latency.
        large_seconds: of four mebibytes.
    """

    small_seconds: float
    large_seconds: float

    @property
    def latency(self) -> float:
        """Seconds that any all-reduce takes."""
        return self.small_seconds

    @property
    def bytes_per_second(self) -> float:
        """Bytes of gradients that are summed in a second, beyond the latency."""
        return 4 * _LARGE / max(self.large_seconds - self.small_seconds, 1e-7)


@dataclass(frozen=True)
class Buckets:
    """The size of the buckets of a run.

    Args:
        size_bytes: of gradients, before a wire dtype makes them smaller; 0 if it isn't known.
        source: "given", "they all fit", "measured", "remembered", or when it will be known.
        conditions: under which it is right.
    """

    size_bytes: int
    source: str
    conditions: Mapping[str, object] = field(default_factory=dict)


def choose(
    config: Config,
    board: Board,
    strategy: tf.distribute.Strategy,
    *,
    gradient_bytes: int,
    conditions: Mapping[str, object],
) -> Buckets:
    """What `--bucket_mb` says, else what an earlier run there used, else what measures best.

    Gradients that fit the smallest bucket need neither: they travel in one.

    Sums depend in their last digits on which gradients travel together; so a run that goes on
    where another one stopped takes its buckets.

    Args:
        config: `bucket_mb`, `run_dir`.
        board: over which the chief tells what it found.
        strategy: of the job.
        gradient_bytes: of all gradients together.
        conditions: what the size depends on.
    """
    if config.bucket_bytes:
        return Buckets(config.bucket_bytes, "given")
    if strategy.num_replicas_in_sync == 1:
        return Buckets(0, "measured when the run starts")
    if gradient_bytes <= _SMALLEST:
        return Buckets(_SMALLEST, "they all fit")  # whatever the links are: nothing to measure
    found = int(board.say("bucket", str(_remembered(Path(config.run_dir), conditions))))
    if found:
        return Buckets(found, "remembered", conditions)
    share = {"float32": 1.0}.get(config.wire_dtype, 0.5)
    size = best(measure(strategy), gradient_bytes, wire_share=share)
    return Buckets(size, "measured", conditions)


def _remembered(run_dir: Path, conditions: Mapping[str, object]) -> int:
    """The size in the `config.json` of an earlier run, 0 without one under these conditions."""
    try:
        earlier = json.loads((run_dir / "config.json").read_text())["buckets"]
        is_same = earlier["conditions"] == dict(conditions)
        return int(earlier["size_bytes"]) if is_same else 0
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return 0


def measure(strategy: tf.distribute.Strategy) -> LinkTimes:
    """Times all-reduces on the real links, the same result on every worker.

    Each size runs in a loop on the device, as in training, once before the clock starts.
    """

    def on_replica(size: int, before: tf.Tensor) -> tf.Tensor:
        # Depends on the time before it, so that one follows the other.
        value = tf.ones([size]) + 0.0 * tf.cast(before, tf.float32)
        context = tf.distribute.get_replica_context()
        total = context.all_reduce(tf.distribute.ReduceOp.SUM, value)
        return time_of(total)

    def one(size: int, before: tf.Tensor) -> tf.Tensor:
        done = strategy.experimental_local_results(strategy.run(on_replica, args=(size, before)))
        return tf.reduce_max(tf.stack(done))

    def mean_of_workers(seconds: tf.Tensor) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        total = context.all_reduce(tf.distribute.ReduceOp.SUM, seconds[tf.newaxis])
        return total[0] / context.num_replicas_in_sync

    @tf.function(autograph=False)
    def seconds_of(size: int) -> tf.Tensor:
        started = one(size, tf.zeros([], tf.float64))
        _, ended = tf.while_loop(
            lambda number, _: number < _REPETITIONS,
            lambda number, before: (number + 1, one(size, before)),
            (tf.constant(0), started),
            parallel_iterations=1,
        )
        mean = strategy.run(mean_of_workers, args=((ended - started) / _REPETITIONS,))
        return strategy.experimental_local_results(mean)[0]

    small, large = seconds_of(_SMALL), seconds_of(_LARGE)
    return LinkTimes(float(small), float(large))


def best(times: LinkTimes, gradient_bytes: int, *, wire_share: float = 1.0) -> int:
    """The bucket with the least exposed communication.

    What backward can't hide is the last bucket, and every bucket costs a latency: with K buckets
    of S bytes at B bytes a second S/(K B) + K a, which is least at K = sqrt(S / (a B)).

    Args:
        times: of the links.
        gradient_bytes: of all gradients together.
        wire_share: how much of them travels.

    Returns:
        Bytes of gradients, a multiple of a quarter of a mebibyte from half a mebibyte to 64.
    """
    sent = gradient_bytes * wire_share
    count = max(1.0, math.sqrt(sent / (times.latency * times.bytes_per_second)))
    rounded = _STEP * round(gradient_bytes / count / _STEP)
    return int(min(max(rounded, _SMALLEST), _LARGEST))
