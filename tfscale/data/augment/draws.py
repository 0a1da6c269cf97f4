"""Numbers that a seed decides, of which no two purposes draw the same."""

import zlib

import tensorflow as tf


def derived(seed: tf.Tensor, purpose: str) -> tf.Tensor:
    """A seed of its own for a purpose: the same for the same two, and unlike any other's.

    Args:
        seed: int32 (2,), what `preprocess` was given.
        purpose: the name of what is drawn.

    Returns:
        int32 (2,).
    """
    number = zlib.crc32(purpose.encode()) & 0x7FFFFFFF
    return tf.random.experimental.stateless_fold_in(seed, number)


def uniform(seed: tf.Tensor, low: float, high: float, purpose: str) -> tf.Tensor:
    """A float32 scalar in low..high, without high."""
    return tf.random.stateless_uniform([], derived(seed, purpose), low, high)


def happens(seed: tf.Tensor, probability: float, purpose: str) -> tf.Tensor:
    """A bool scalar, true as often as `probability` says."""
    return uniform(seed, 0.0, 1.0, purpose) < probability
