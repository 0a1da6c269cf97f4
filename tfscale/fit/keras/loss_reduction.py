"""The one rule for the scale of a loss: a replica's loss is such that the mean over replicas is it.

Stock Keras divides by the number of replicas what its own `Loss` objects return, and sums; a loss
that somebody wrote by hand isn't divided, and what is shown is multiplied back. Here no replica
divides: gradients and what is shown are averaged, in one place each, so that the mean of a
replica's examples is right in any spelling.

Three things in a loss depend on more than a replica's own examples, and ask the others: a mask's
number of valid elements, the sum of sample weights (`mean_with_sample_weight`), and a sum over
examples, which is as many times larger as a replica's rows are fewer. Where nothing asks, nothing
is exchanged.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

import keras
import tensorflow as tf

from tfscale.fit.keras.seams import keras_loss
from tfscale.structures import Foreign


class Share(Protocol):
    """What part of a global batch a replica computes the loss of.

    Attributes:
        is_of_global_batch: False where a few examples only stand for one.
    """

    is_of_global_batch: bool

    def denominator(self, own: tf.Tensor) -> tf.Tensor:
        """What a replica has to divide by, of what its own rows would give; both scalars."""

    def of_sum(self, own: tf.Tensor) -> tf.Tensor:
        """What a replica's sum over its own rows counts as."""

    def of_number(self, own: tf.Tensor) -> tf.Tensor:
        """What a number counts as that somebody's own loss gave of a replica's rows."""

    def weight(self) -> tf.Tensor | None:
        """What a number of all its rows counts, 1 where replicas have equally many; None for 1."""


_of_thread = threading.local()  # replicas of a worker are traced in threads of their own


@contextlib.contextmanager
def sharing(share: Share) -> Iterator[None]:
    """In the body, losses are those of a part of a global batch, and the rule holds."""
    before = current_share()
    _of_thread.share = share
    try:
        yield
    finally:
        _of_thread.share = before


def current_share() -> Share | None:
    """What this thread traces losses of, None outside of a step."""
    share: Share | None = getattr(_of_thread, "share", None)
    return share


def may_ask(model: keras.Model) -> bool:
    """Whether a loss of Keras's may divide by a count of the global batch; False says it doesn't.

    Keras counts valid elements where a layer gives a mask or a loss ignores a class, and weights
    where a loss is a mean over them.
    """
    losses = keras.tree.flatten(model.loss)
    return any(
        getattr(loss, "reduction", None) == "mean_with_sample_weight"
        or getattr(loss, "ignore_class", None) is not None
        for loss in losses
    ) or any(
        isinstance(layer, keras.layers.Masking) or getattr(layer, "mask_zero", False)
        for layer in model._flatten_layers()
    )


def _unscaled(original: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[tf.Tensor], tf.Tensor]:
    return lambda value: original(value) if current_share() is None else value


def _apply_mask(
    original: Callable[..., Foreign],
) -> Callable[..., Foreign]:
    """Lets a mask's valid elements be counted in the whole global batch."""

    def apply_mask(
        sample_weight: Foreign, mask: Foreign, dtype: Foreign, reduction: str | None
    ) -> Foreign:
        weights = original(sample_weight, mask, dtype=dtype, reduction=reduction)
        share = current_share()
        if mask is None or share is None or reduction not in ("mean", "sum_over_batch_size"):
            return weights
        valid = tf.reduce_sum(tf.cast(mask, weights.dtype))
        return weights * tf.math.divide_no_nan(valid, share.denominator(valid))

    return apply_mask


def _reduce_values(original: Callable[..., Foreign]) -> Callable[..., Foreign]:
    """Lets sums and weighted means be those of the whole global batch."""

    def reduce_values(
        values: tf.Tensor,
        sample_weight: Foreign = None,
        reduction: str | None = "sum_over_batch_size",
    ) -> Foreign:
        loss = original(values, sample_weight, reduction)
        share = current_share()
        if share is None:
            return loss
        if not values.shape.rank:
            return share.of_number(loss)
        if reduction == "sum":
            return share.of_sum(loss)
        if reduction == "mean_with_sample_weight" and sample_weight is not None:
            own = tf.cast(tf.reduce_sum(sample_weight), loss.dtype)
            return loss * tf.math.divide_no_nan(own, share.denominator(own))
        return loss

    return reduce_values


def _average_loss(original: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """What TensorFlow's tutorials divide a loss with: by the global batch, if they say its size."""

    def compute_average_loss(
        per_example_loss: tf.Tensor,
        sample_weight: Foreign = None,
        global_batch_size: Foreign = None,
    ) -> tf.Tensor:
        share = current_share()
        if share is None:
            return original(per_example_loss, sample_weight, global_batch_size)
        # Without a size TensorFlow would take the rows of all replicas.
        if global_batch_size is None or not share.is_of_global_batch:
            return original(per_example_loss, sample_weight, tf.shape(per_example_loss)[0])
        return share.of_sum(original(per_example_loss, sample_weight, global_batch_size))

    return compute_average_loss


def _regularization(
    original: Callable[[Foreign], tf.Tensor],
) -> Callable[[Foreign], tf.Tensor]:
    """The loss of weights, which TensorFlow's tutorials divide by the number of replicas."""

    def scale_regularization_loss(regularization_loss: Foreign) -> tf.Tensor:
        if current_share() is None:
            return original(regularization_loss)
        return tf.reduce_sum(regularization_loss)

    return scale_regularization_loss


def _mean_update(original: Callable[..., Foreign]) -> Callable[..., Foreign]:
    """Lets a number of a whole batch count for the rows that it is of."""

    def update_state(
        self: keras.metrics.Mean, values: Foreign, sample_weight: Foreign = None
    ) -> Foreign:
        share = current_share()
        if (
            share is not None
            and sample_weight is None
            and not tf.convert_to_tensor(values).shape.rank
        ):
            sample_weight = share.weight()
        return original(self, values, sample_weight)

    return update_state


@functools.cache
def install() -> None:
    """Replaces the functions for the whole process; outside of `sharing` they are what they were.

    For a time wouldn't do: replicas of one worker are traced by several threads at once.
    """
    keras_loss.scale_loss_for_distribution = _unscaled(keras_loss.scale_loss_for_distribution)
    keras_loss.unscale_loss_for_distribution = _unscaled(keras_loss.unscale_loss_for_distribution)
    keras_loss.apply_mask = _apply_mask(keras_loss.apply_mask)
    keras_loss.reduce_values = _reduce_values(keras_loss.reduce_values)
    tf.nn.compute_average_loss = _average_loss(tf.nn.compute_average_loss)
    keras.metrics.Mean.update_state = _mean_update(keras.metrics.Mean.update_state)
    tf.nn.scale_regularization_loss = _regularization(tf.nn.scale_regularization_loss)
