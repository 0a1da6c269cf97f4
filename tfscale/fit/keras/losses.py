"""How Keras weighs the losses that it shows."""

import contextlib
import functools
from collections.abc import Callable, Iterator

import keras
import tensorflow as tf

from tfscale.structures import Foreign


@contextlib.contextmanager
def output_losses_weighted(model: keras.Model, count: tf.Tensor) -> Iterator[None]:
    """Weighs the loss of each output by the rows that it is the mean of, while a step is traced.

    Keras does so where the batch size is static only; elsewhere a batch of one row counts as much
    as a full one (compile_utils.CompileLoss.call).
    """
    trackers = list(getattr(model._compile_loss, "metrics", []))
    for tracker in trackers:
        original = tracker.update_state
        tracker.update_state = functools.partial(_weighted_update, original, count)
    try:
        yield
    finally:
        for tracker in trackers:
            del tracker.update_state


def _weighted_update(
    original: Callable[..., Foreign],
    count: tf.Tensor,
    value: tf.Tensor,
    sample_weight: Foreign = None,
) -> Foreign:
    return original(value, sample_weight=count if sample_weight is None else sample_weight)
