"""How long gradients travel, measured in every step on every replica."""

import functools

import tensorflow as tf

from tfscale.structures import Foreign


class CommunicationTimes:
    """Adds up, for each replica, how long its gradients travelled and how long that was exposed.

    Exposed is what comes after the last gradient is there: all that backward could not hide.

    Args:
        strategy: whose replicas each get their own sums.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self._strategy = strategy
        kept = {
            "trainable": False,
            "synchronization": tf.VariableSynchronization.ON_READ,
            "aggregation": tf.VariableAggregation.SUM,
        }
        with strategy.scope():
            self._sums = tf.Variable(
                tf.zeros([2], tf.float64), name="communication_seconds", **kept
            )
            self._last = tf.Variable(
                tf.zeros([2, 0], tf.float64), shape=[2, None], name="communication_last", **kept
            )

    def observe(self, ready: tf.Tensor, done: tf.Tensor) -> None:
        """Takes one step's times; called in replica context.

        Args:
            ready: float64 (buckets,), when each bucket could leave, in seconds since 1970.
            done: float64 (buckets,), when its sum was there.
        """
        end = tf.reduce_max(done)
        exposed = tf.maximum(end - tf.reduce_max(ready), 0.0)
        self._sums.assign_add(tf.stack([exposed, end - tf.reduce_min(ready)]))
        self._last.assign(tf.stack([ready, done]))

    def reset(self) -> None:
        """Starts the sums again; called in replica context."""
        self._sums.assign(tf.zeros([2], tf.float64))

    def local(self) -> tf.Tensor:
        """float64 (2,) of this replica: seconds exposed, seconds from first leaving to last sum."""
        return tf.convert_to_tensor(self._sums)

    def last_step(self) -> tf.Tensor:
        """float64 (2, buckets): `ready` and `done` of the last step on this worker's first replica.

        Called outside of the replicas.
        """
        return tf.identity(self._strategy.experimental_local_results(self._last)[0])


def time_of(tensor: tf.Tensor) -> tf.Tensor:
    """When the tensor exists, float64 seconds since 1970.

    A tensor of a GPU exists when its first element has arrived on the host.

    TensorFlow orders all operations with side effects of a function one after the other, a look at
    the clock too, so that each would show when all that were written down before it were done. A
    call that claims to have no side effects is left where it belongs.
    """
    with tf.device("CPU:0"):
        first = tf.reshape(tensor, [-1])[:1]
        arguments = [tf.cast(first, tf.float32)]
        (time,) = tf.raw_ops.PartitionedCall(args=arguments, Tout=[tf.float64], f=_clock())
    return time


@functools.cache
def _clock() -> Foreign:
    def now(waited_for: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([waited_for]):
            return tf.timestamp()

    with tf.init_scope():
        return tf.function(now, autograph=False).get_concrete_function(
            tf.TensorSpec([1], tf.float32)
        )
