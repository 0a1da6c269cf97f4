"""How far an on-device loop has come, for who looks from another thread while it runs."""

import tensorflow as tf

from tfscale.data.feed import next_of
from tfscale.structures import Foreign, Structure


class Arrivals:
    """Counts the batches that a loop of training has asked for and got, on this worker.

    The count is a variable of the host, which no step waits for: a loop that stands still because
    it has no input is told from one that waits for another worker.
    """

    def __init__(self) -> None:
        with tf.device("CPU:0"):
            self._count = tf.Variable(0, dtype=tf.int64, trainable=False, name="arrivals")

    def next_of(self, iterator: Foreign) -> tuple[Structure, tf.Tensor]:
        """The next batch, and float64 seconds of waiting for it; for a function to be traced."""
        asked = self._count.assign_add(1, read_value=False)
        with tf.control_dependencies([asked]):
            before = tf.timestamp()
        with tf.control_dependencies([before]):
            batch = next_of(iterator)
        with tf.control_dependencies(tf.nest.flatten(batch, expand_composites=True)):
            got = self._count.assign_add(1, read_value=False)
        with tf.control_dependencies([got]):
            after = tf.timestamp()
        return batch, after - before

    @property
    def now(self) -> tuple[int, bool]:
        """How many batches were asked for, and whether the last of them hasn't come yet."""
        count = int(self._count.numpy())
        return (count + 1) // 2, bool(count % 2)
