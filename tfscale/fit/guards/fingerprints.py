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
        weights = tf.range(1.0, _WEIGHTS + 1.0, dtype=tf.float64)[:, tf.newaxis]

        def sums() -> tf.Tensor:
            columns = [_columns(one.value) for one in self._variables.values()]
            return tf.matmul(tf.stack(columns), weights)

        found = self._strategy.run(sums)
        return list(self._strategy.experimental_local_results(found))


def _columns(variable: Foreign) -> tf.Tensor:
    """The sums of its pieces, row by row of so many: few operations, as all of them are traced."""
    value = tf.convert_to_tensor(variable)
    if value.dtype == tf.bool:
        value = tf.cast(value, tf.uint8)
    pieces = tf.bitcast(value, tf.uint8 if value.dtype.size == 1 else tf.uint16)
    size = pieces.shape.num_elements()
    missing = -(tf.size(pieces, tf.int64) if size is None else size) % _WEIGHTS
    if size is None or missing:
        pieces = tf.pad(tf.reshape(pieces, [-1]), [[0, missing]])
    return tf.reduce_sum(tf.cast(tf.reshape(pieces, [-1, _WEIGHTS]), tf.float64), 0)
