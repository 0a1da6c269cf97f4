"""A fingerprint of what is the same on every replica, computed where it lies.

It is the sum of a variable's bits in pieces of two bytes, each times a weight that goes with its
place: whole numbers in float64, which are exact in any order up to 2 ** 29 pieces, on a GPU too. A
bit that flips changes the sum; so do values that change places, as long as they aren't a multiple
of 256 pieces apart.
"""

from collections.abc import Mapping

import tensorflow as tf

from tfscale.structures import Foreign

_WEIGHTS = 256


class Fingerprints:
    """Of each of this worker's replicas.

    Args:
        strategy: whose replicas hold the variables.
        variables: by their names, the same on every replica between two steps.
    """

    def __init__(self, strategy: tf.distribute.Strategy, variables: Mapping[str, Foreign]) -> None:
        """Traces nothing yet."""
        self._strategy = strategy
        self._variables = {
            name: one for name, one in variables.items() if tf.as_dtype(one.dtype) != tf.string
        }
        self._sums = tf.function(self._sums_of_replicas, autograph=False)

    @property
    def names(self) -> list[str]:
        """Of the variables, in the order of their sums."""
        return list(self._variables)

    def read(self) -> list[bytes]:
        """For each of this worker's replicas 8 bytes a variable."""
        found: list[bytes] = [one.numpy().tobytes() for one in self._sums()]
        return found

    def _sums_of_replicas(self) -> list[tf.Tensor]:
        found = self._strategy.run(
            lambda: tf.stack([_sum(one.value) for one in self._variables.values()])
        )
        return list(self._strategy.experimental_local_results(found))


def _sum(variable: Foreign) -> tf.Tensor:
    value = tf.convert_to_tensor(variable)
    if value.dtype == tf.bool:
        value = tf.cast(value, tf.uint8)
    pieces = tf.reshape(tf.bitcast(value, tf.uint8 if value.dtype.size == 1 else tf.uint16), [-1])
    size = tf.size(pieces, tf.int64)
    rest = size % _WEIGHTS
    # Whole rows are summed in one pass; what is left is as one more row.
    whole = tf.reshape(pieces[: size - rest], [-1, _WEIGHTS])
    columns = tf.reduce_sum(tf.cast(whole, tf.float64), 0)
    left = tf.pad(tf.cast(pieces[size - rest :], tf.float64), [[0, _WEIGHTS - rest]])
    return tf.reduce_sum((columns + left) * tf.range(1.0, _WEIGHTS + 1.0, dtype=tf.float64))
