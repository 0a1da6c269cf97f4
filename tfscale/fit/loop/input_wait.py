"""How long an on-device loop has waited for its input, for who looks while it runs, too."""

import tensorflow as tf

from tfscale.data.feed import next_of
from tfscale.structures import Foreign, Structure


class InputWait:
    """Adds up what a loop of training waits for its batches, on this worker.

    A variable of the host holds the sum. The time at which a batch is asked for is taken from it
    and the time at which it comes is added, so that a negative sum tells another thread that the
    loop waits: one that stands still for want of input is told from one that waits for a worker.
    """

    def __init__(self) -> None:
        with tf.device("CPU:0"):
            self._seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False, name="input_wait")

    def reset(self) -> None:
        """Starts the sum again, at the beginning of a loop; for a function to be traced."""
        self._seconds.assign(0.0, read_value=False)

    def next_of(self, iterator: Foreign) -> Structure:
        """The next batch; for a function to be traced."""
        asked_at = tf.timestamp()
        # Before the batch, because TensorFlow starts what takes a value before what only waits for
        # it. To have the batch wait for it as well would make a short step 8 % longer.
        self._seconds.assign_sub(asked_at, read_value=False)
        with tf.control_dependencies([asked_at]):
            batch = next_of(iterator)
        with tf.control_dependencies(tf.nest.flatten(batch, expand_composites=True)):
            came_at = tf.timestamp()
        self._seconds.assign_add(came_at, read_value=False)
        return batch

    def total(self) -> tf.Tensor:
        """Seconds of the loop so far, float64, where no batch is waited for."""
        return self._seconds.read_value()

    @property
    def now(self) -> tuple[float, bool]:
        """A number that differs after each batch, and whether the next one hasn't come yet."""
        seconds = float(self._seconds.numpy())
        return seconds, seconds < 0.0
