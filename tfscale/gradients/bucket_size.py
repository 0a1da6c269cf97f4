"""How large a bucket should be: from what an all-reduce costs on the links at hand."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import tensorflow as tf

from tfscale.gradients.all_reduce import sum_over_replicas
from tfscale.gradients.timing import time_of
from tfscale.gradients.wires import AsIs, Wire
from tfscale.startup.job import Job

_SIZES = tuple(half * 2**power for power in range(18, 26) for half in (2, 3))[:-1]  # bytes
_SMALLEST = _SIZES[0]
_SMALL, _LARGE = 256, 2**20  # float32 elements
_REPETITIONS = 8
_FLOAT32_BYTES = 4


@dataclass(frozen=True)
class BucketSize:
    """The size of the buckets of a run.

    Args:
        size_bytes: of gradients, before a wire dtype makes them smaller; 0 if it isn't known.
        source: "given", "as before", "they all fit", "measured", "remembered", or when it will be
            known.
        conditions: under which it is right.
    """

    size_bytes: int
    source: str
    conditions: Mapping[str, object] = field(default_factory=dict)


def choose(job: Job, wire: Wire, gradient_bytes: int, *, earlier_bytes: int = 0) -> BucketSize:
    """What `--bucket_mb` says, else what an earlier run there used, else what measures best.

    Gradients that fit the smallest bucket need neither: they travel in one.

    Sums depend in their last digits on which gradients travel together; so a run that goes on
    where another one stopped takes its buckets.

    Args:
        job: whose links are measured.
        wire: how gradients are sent.
        gradient_bytes: of all gradients together.
        earlier_bytes: of the buckets of the run that this one resumes from; 0 where there is none.
    """
    if job.config.bucket_bytes:
        return BucketSize(job.config.bucket_bytes, "given")
    replicas = job.strategy.num_replicas_in_sync
    if replicas == 1:
        return BucketSize(0, "measured when the run starts")
    if earlier_bytes:
        return BucketSize(earlier_bytes, "as before", _conditions(job))
    if gradient_bytes <= _SMALLEST:
        return BucketSize(_SMALLEST, "they all fit")  # whatever the links are: nothing to measure
    conditions = _conditions(job)
    found = int(
        job.board.broadcast("bucket", str(_remembered(Path(job.config.run_dir), conditions)))
    )
    if found:
        return BucketSize(found, "remembered", conditions)
    share = wire_share(wire, gradient_bytes, replicas)
    size = best(measure(job.strategy), gradient_bytes, wire_share=share)
    return BucketSize(size, "measured", conditions)


def _conditions(job: Job) -> dict[str, object]:
    """What the size depends on."""
    return {
        "workers": job.cluster.num_workers,
        "devices": [job.devices.kind, job.devices.count],
        "collectives": job.collectives,
        "wire_dtype": job.config.wire_dtype,
        "compress": job.config.compress,
    }


def wire_share(wire: Wire, gradient_bytes: int, replicas: int) -> float:
    """What a replica sends on a wire, as a share of what it would send of float32 as it is."""
    elements = max(1, gradient_bytes // _FLOAT32_BYTES)
    as_is = AsIs().bytes_sent(elements, _FLOAT32_BYTES, replicas)
    return wire.bytes_sent(elements, _FLOAT32_BYTES, replicas) / as_is


def _remembered(run_dir: Path, conditions: Mapping[str, object]) -> int:
    """The size in the `config.json` of an earlier run, 0 without one under these conditions."""
    try:
        earlier = json.loads((run_dir / "config.json").read_text())["buckets"]
        is_same = earlier["conditions"] == dict(conditions)
        return max(0, int(earlier["size_bytes"])) if is_same else 0
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return 0
    except (RecursionError, OverflowError):  # no file of ours
        return 0


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


def measure(strategy: tf.distribute.Strategy) -> LinkTimes:
    """Times all-reduces on the real links, the same result on every worker."""
    seconds_of = all_reduce_timer(strategy, AsIs())
    return LinkTimes(seconds_of(_SMALL, _REPETITIONS), seconds_of(_LARGE, _REPETITIONS))


def all_reduce_timer(strategy: tf.distribute.Strategy, wire: Wire) -> Callable[[int, int], float]:
    """What times all-reduces of so many float32 elements, repeated so often.

    They run in a loop on the device, as in training, once before the clock starts. All workers call
    it with the same numbers, and get the same: seconds of one all-reduce, the mean of all workers.

    Args:
        strategy: over whose replicas it sums.
        wire: how it is sent.
    """

    def on_replica(size: tf.Tensor, before: tf.Tensor) -> tf.Tensor:
        # Depends on the time before it, so that one follows the other.
        value = tf.ones([size]) + 0.0 * tf.cast(before, tf.float32)
        total, _ = wire.send(value, sum_over_replicas)
        return time_of(total)

    def one(size: tf.Tensor, before: tf.Tensor) -> tf.Tensor:
        done = strategy.experimental_local_results(strategy.run(on_replica, args=(size, before)))
        return tf.reduce_max(tf.stack(done))

    def mean_of_workers(seconds: tf.Tensor) -> tf.Tensor:
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        return sum_over_replicas(seconds[tf.newaxis])[0] / replicas

    @tf.function(autograph=False)
    def loop(size: tf.Tensor, repetitions: tf.Tensor) -> tf.Tensor:
        started = one(size, tf.zeros([], tf.float64))
        _, ended = tf.while_loop(
            lambda number, _: number < repetitions,
            lambda number, before: (number + 1, one(size, before)),
            (tf.constant(0), started),
            parallel_iterations=1,
        )
        count = tf.cast(repetitions, tf.float64)
        mean = strategy.run(mean_of_workers, args=((ended - started) / count,))
        return strategy.experimental_local_results(mean)[0]

    return lambda size, repetitions: float(loop(tf.constant(size), tf.constant(repetitions)))


def best(times: LinkTimes, gradient_bytes: int, *, wire_share: float = 1.0) -> int:
    """The bucket with the least exposed communication.

    What backward can't hide is the last bucket, and every bucket costs a latency: with K buckets
    of S bytes at B bytes a second S/(K B) + K a, which is least at K = sqrt(S / (a B)).

    Args:
        times: of the links.
        gradient_bytes: of all gradients together.
        wire_share: how much of them travels.

    Returns:
        Bytes of gradients, the largest of `_SIZES` that isn't above it: what is measured differs
        from run to run, and sums with it in their last digits, so that the sizes are few. Not above
        it because more buckets cost nothing as long as backward hides them, and a larger last one
        does: where 13 MiB were wanted, four workers on two cores ran at 80 % with 8, 83 % with 12.
    """
    sent = gradient_bytes * wire_share
    count = max(1.0, math.sqrt(sent / (times.latency * times.bytes_per_second)))
    wanted = max(1.0, gradient_bytes / count)
    fitting: list[int] = [size for size in _SIZES if size <= wanted]
    return max(fitting, default=_SMALLEST)
