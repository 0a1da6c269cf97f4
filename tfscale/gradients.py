"""What happens to gradients between backward and update: reduced first, then everything else.

Stock Keras 3 clips and checks for overflow before gradients are summed over replicas, so that the
result depends on their number, and an overflow on any replica but the first reaches the weights.
Here an optimizer gets gradients that are already summed, and its own reduction is off.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfscale.config import ConfigError

Gradient = tf.Tensor | tf.IndexedSlices | None


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


class Accumulator:
    """Collects the gradients of several micro-batches while a step is traced.

    Args:
        count: micro-batches of a step.
    """

    def __init__(self, count: int) -> None:
        """Starts empty."""
        self.count = count
        self._collected: list[list[Gradient]] = []

    def add(self, gradients: Sequence[Gradient]) -> list[Gradient] | None:
        """Takes one micro-batch's gradients; gives the mean of all with the last, else None."""
        self._collected.append(list(gradients))
        if len(self._collected) < self.count:
            return None
        parts, self._collected = self._collected, []
        return [_mean(same, self.count) for same in zip(*parts, strict=True)]

    @property
    def dependencies(self) -> list[tf.Tensor]:
        """What the next micro-batch waits for, so that one's activations are gone before it."""
        last = self._collected[-1] if self._collected else []
        return [
            tensor for tensor in tf.nest.flatten(last, expand_composites=True) if tensor is not None
        ]


def apply_after_reduction(
    optimizer: keras.optimizers.Optimizer,
    reduce: Callable[[Sequence[Gradient]], list[Gradient]],
    accumulator: Accumulator,
) -> None:
    """Makes this optimizer reduce gradients before it clips, checks and applies them.

    Whoever calls `optimizer.apply` or `apply_gradients`, a custom `train_step` too, gets it.

    Raises:
        ConfigError: the optimizer wants to accumulate by itself, which can't work with several
            replicas (https://github.com/keras-team/keras/issues/20582).
    """
    layers = [optimizer]
    if hasattr(optimizer, "inner_optimizer"):
        layers.append(optimizer.inner_optimizer)
    for layer in layers:
        if layer.gradient_accumulation_steps:
            raise ConfigError(
                f"{type(layer).__name__}(gradient_accumulation_steps="
                f"{layer.gradient_accumulation_steps}) accumulates after the all-reduce; expected "
                f"none. Use --accumulate_steps={layer.gradient_accumulation_steps} instead, with "
                "that many times the batch size."
            )
        layer._all_reduce_sum_gradients = list
    original = optimizer.apply

    def apply(
        gradients: Sequence[Gradient], trainable_variables: Sequence[Any] | None = None
    ) -> None:
        window = accumulator.add(gradients)
        if window is not None:
            original(reduce(window), trainable_variables)

    optimizer.apply = apply


def _by_dtype(gradients: Sequence[Any]) -> dict[tf.DType, list[int]]:
    """Positions of the gradients of each dtype: what shares a bucket has one."""
    groups: dict[tf.DType, list[int]] = {}
    for number, gradient in enumerate(gradients):
        if gradient is not None:
            groups.setdefault(gradient.dtype, []).append(number)
    return groups


def _mean(parts: Sequence[Any], count: int) -> Gradient:
    there = [part for part in parts if part is not None]
    if not there:
        return None
    if count == 1:
        return there[0]
    if all(isinstance(part, tf.IndexedSlices) for part in there):
        return tf.IndexedSlices(
            tf.concat([part.values for part in there], 0) / count,
            tf.concat([part.indices for part in there], 0),
            there[0].dense_shape,
        )
    return tf.add_n([tf.convert_to_tensor(part) for part in there]) / count
