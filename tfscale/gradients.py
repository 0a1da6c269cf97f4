"""How gradients travel: summed over all replicas, many in one all-reduce, in a dtype of choice."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import tensorflow as tf

# A tensor, IndexedSlices, or None for a variable that the loss doesn't depend on.
Gradient: TypeAlias = Any


class GradientReducer:
    """Sums gradients over all replicas, many in one all-reduce.

    Args:
        bucket_bytes: gradients that travel together; the last layer's leave first, while
            backward still computes the others.
        wire_dtype: dtype while they travel; float32 sends them as they are.
    """

    def __init__(self, *, bucket_bytes: int, wire_dtype: str) -> None:
        """Holds the options of the all-reduce."""
        self._options = tf.distribute.experimental.CommunicationOptions(bytes_per_pack=bucket_bytes)
        self._wire_dtype = None if wire_dtype == "float32" else tf.as_dtype(wire_dtype)

    def __call__(self, gradients: Sequence[Any]) -> list[Gradient]:
        """Sums each gradient over the replicas; None stays None. Called in replica context."""
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return list(gradients)
        summed: list[Gradient] = list(gradients)
        for numbers in _by_dtype(gradients).values():
            sent = [self._cast(gradients[number], self._wire_dtype) for number in numbers]
            totals = context.all_reduce(tf.distribute.ReduceOp.SUM, sent, options=self._options)
            for number, total in zip(numbers, totals, strict=True):
                summed[number] = self._cast(total, gradients[number].dtype)
        return summed

    @staticmethod
    def _cast(gradient: Any, dtype: tf.DType | None) -> Any:  # noqa: ANN401
        if dtype is None or gradient.dtype == dtype:
            return gradient
        return tf.cast(gradient, dtype)  # of IndexedSlices it casts the values


def mean_of(parts: Sequence[Sequence[Any]]) -> list[Gradient]:
    """The mean of the gradients of several micro-batches, variable by variable."""
    return [_mean(same) for same in zip(*parts, strict=True)]


def _by_dtype(gradients: Sequence[Any]) -> dict[tf.DType, list[int]]:
    """Positions of the gradients of each dtype: what shares a bucket has one."""
    groups: dict[tf.DType, list[int]] = {}
    for number, gradient in enumerate(gradients):
        if gradient is not None:
            groups.setdefault(gradient.dtype, []).append(number)
    return groups


def _mean(parts: Sequence[Any]) -> Gradient:
    there = [part for part in parts if part is not None]
    if not there or len(parts) == 1:
        return there[0] if there else None
    if all(isinstance(part, tf.IndexedSlices) for part in there):
        return tf.IndexedSlices(
            tf.concat([part.values for part in there], 0) / len(parts),
            tf.concat([part.indices for part in there], 0),
            there[0].dense_shape,
        )
    return tf.add_n([tf.convert_to_tensor(part) for part in there]) / len(parts)
