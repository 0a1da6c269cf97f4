"""What part of a global batch a replica's rows are, and what that means for a loss."""

from collections.abc import Sequence

import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.gradients.all_reduce import sum_over_replicas


class EvenShare:
    """A replica of training: all have equally many rows, in equally many micro-batches.

    Args:
        replicas: of the job.
        totals: denominators of this replica's whole batch where it is taken in micro-batches, in
            the order in which losses ask for them; none to ask the other replicas at once.
        micro_batches: of a step.
        compiles: whether XLA compiles the loss, so that nothing can be asked.
        numbers_are_sums: whether a number that somebody's own loss gives is a sum over examples.
    """

    is_of_global_batch = True

    def __init__(
        self,
        replicas: int,
        *,
        totals: Sequence[tf.Tensor] = (),
        micro_batches: int = 1,
        compiles: bool = False,
        numbers_are_sums: bool = False,
    ) -> None:
        self._numbers_are_sums = numbers_are_sums
        self._replicas = replicas
        self._totals = list(totals)
        self._micro_batches = micro_batches
        self._compiles = compiles

    def denominator(self, own: tf.Tensor) -> tf.Tensor:
        """The mean over replicas and micro-batches: then the mean of all losses is right.

        Raises:
            ConfigError: XLA compiles the loss.
        """
        if self._micro_batches > 1:
            return tf.cast(self._totals.pop(0), own.dtype) / self._micro_batches
        if self._replicas == 1:
            return own
        if self._compiles:
            raise ConfigError(
                "The loss divides by the number of valid or weighted examples of all replicas, "
                "which XLA can't ask for; expected no mask and no mean_with_sample_weight with "
                "--jit or jit_compile=True. Leave one out."
            )
        return mean_of_replicas(own)

    def of_sum(self, own: tf.Tensor) -> tf.Tensor:
        """As many times as large as there are parts of the batch."""
        return own * (self._replicas * self._micro_batches)

    def of_number(self, own: tf.Tensor) -> tf.Tensor:
        """The same for a mean."""
        return self.of_sum(own) if self._numbers_are_sums else own

    def weight(self) -> None:
        """One: all have equally many rows."""


class RecordingShare:
    """Writes down which denominators losses ask for, and changes nothing."""

    is_of_global_batch = False

    def __init__(self) -> None:
        self.denominators: list[tf.Tensor] = []

    def denominator(self, own: tf.Tensor) -> tf.Tensor:
        """Its own."""
        self.denominators.append(own)
        return own

    def of_sum(self, own: tf.Tensor) -> tf.Tensor:
        """Itself."""
        return own

    def of_number(self, own: tf.Tensor) -> tf.Tensor:
        """Itself."""
        return own

    def weight(self) -> None:
        """One."""


class RowShare:
    """A replica of an evaluation, which may have fewer rows than the others, or none.

    Args:
        replicas: of the job.
        rows: int32 scalar, of this replica.
        numbers_are_sums: whether a number that somebody's own loss gives is a sum over examples.
    """

    is_of_global_batch = True

    def __init__(self, replicas: int, rows: tf.Tensor, *, numbers_are_sums: bool = False) -> None:
        self._numbers_are_sums = numbers_are_sums
        self._replicas = replicas
        self._rows = rows

    def denominator(self, own: tf.Tensor) -> tf.Tensor:
        """So much of that of the global batch as this replica has of its rows."""
        if self._replicas == 1:
            return own
        counted = tf.where(self._rows > 0, own, tf.zeros_like(own))
        total = tf.cast(self._replicas, own.dtype) * mean_of_replicas(counted)
        return total / self._inverse(own.dtype)

    def of_sum(self, own: tf.Tensor) -> tf.Tensor:
        """As many times as large as the global batch has more rows."""
        return own if self._replicas == 1 else own * self._inverse(own.dtype)

    def of_number(self, own: tf.Tensor) -> tf.Tensor:
        """The same for a mean."""
        return self.of_sum(own) if self._numbers_are_sums else own

    def weight(self) -> tf.Tensor | None:
        """Its part of the rows of the global batch, so that all of them together count the same."""
        if self._replicas == 1:
            return None
        return tf.math.divide_no_nan(
            tf.cast(self._replicas * tf.minimum(self._rows, 1), tf.float32),
            self._inverse(tf.float32),
        )

    def _inverse(self, dtype: tf.DType) -> tf.Tensor:
        """Rows of the global batch for each of this replica's; large where it has none."""
        rows = tf.cast(self._rows, dtype)
        total = tf.cast(self._replicas, dtype) * mean_of_replicas(rows)
        return total / tf.maximum(rows, tf.ones_like(rows))


def mean_of_replicas(own: tf.Tensor) -> tf.Tensor:
    """The mean over replicas of a scalar, which carries no gradient; called in replica context."""
    context = tf.distribute.get_replica_context()
    # One more axis: TensorFlow packs scalars of several dtypes badly.
    total = sum_over_replicas(tf.stop_gradient(own)[tf.newaxis])[0]
    return total / tf.cast(context.num_replicas_in_sync, own.dtype)
