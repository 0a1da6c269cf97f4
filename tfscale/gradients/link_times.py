"""What an all-reduce costs on the links at hand, measured."""

from dataclasses import dataclass

import tensorflow as tf

from tfscale.gradients.all_reduce import sum_over_replicas
from tfscale.gradients.timing import time_of

_SMALL, _LARGE = 256, 2**20  # float32 elements
_REPETITIONS = 8


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
    """Times all-reduces on the real links, the same result on every worker.

    Each size runs in a loop on the device, as in training, once before the clock starts.
    """

    def on_replica(size: int, before: tf.Tensor) -> tf.Tensor:
        # Depends on the time before it, so that one follows the other.
        value = tf.ones([size]) + 0.0 * tf.cast(before, tf.float32)
        return time_of(sum_over_replicas(value))

    def one(size: int, before: tf.Tensor) -> tf.Tensor:
        done = strategy.experimental_local_results(strategy.run(on_replica, args=(size, before)))
        return tf.reduce_max(tf.stack(done))

    def mean_of_workers(seconds: tf.Tensor) -> tf.Tensor:
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        return sum_over_replicas(seconds[tf.newaxis])[0] / replicas

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
