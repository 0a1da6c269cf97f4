"""Rows of all replicas in one tensor, whatever they are made of."""

from collections.abc import Callable

import keras
import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.fit.state.replica_state import gather_replicas
from tfscale.structures import Structure

_SMALL = (tf.bool, tf.int8, tf.uint8, tf.int16, tf.uint16)
_NOTHING = 256  # the code where a text is over


def rows_of_all(rows: tf.Tensor) -> tf.Tensor:
    """The rows of all replicas in the order of their ids, on every replica; in replica context.

    Raises:
        ConfigError: they are of a kind that can't be sent.
    """
    if tf.distribute.get_replica_context().num_replicas_in_sync == 1:
        return rows
    if not isinstance(rows, tf.Tensor):
        raise ConfigError(
            f"predict_step gives a {type(rows).__name__}; expected dense tensors, of which each "
            "replica makes some rows. Use .to_tensor() in the model."
        )
    if rows.shape.rank == 0:
        raise ConfigError(
            "predict_step gives a number without rows; expected one row for each row of its "
            "inputs, because each replica makes some of them. Repeat it for each row."
        )
    if rows.dtype == tf.string:
        return _texts(rows)
    if rows.dtype.is_complex:
        parts = (tf.math.real(rows), tf.math.imag(rows))
        return tf.complex(*(gather_replicas(part) for part in parts))
    return tf.cast(gather_replicas(tf.cast(rows, _sent_dtype(rows.dtype))), rows.dtype)


def of_all_replicas(
    strategy: tf.distribute.Strategy, make: Callable[[Structure], Structure], element: Structure
) -> Structure:
    """What each replica makes of its part of an element, the rows of all of them, on every worker.

    Args:
        strategy: whose replicas do.
        make: called in replica context; gives tensors with rows.
        element: of an `Input`'s iterator.

    Raises:
        ConfigError: as of `rows_of_all`.
    """

    def on_replica(part: Structure) -> Structure:
        return keras.tree.map_structure(rows_of_all, make(part))

    everywhere = strategy.run(on_replica, args=(element,))
    return keras.tree.map_structure(
        lambda leaf: strategy.experimental_local_results(leaf)[0], everywhere
    )


def _sent_dtype(dtype: tf.DType) -> tf.DType:
    """A dtype that can be summed and holds all values of this one."""
    if dtype in _SMALL:
        return tf.int32
    if dtype.is_integer:
        return tf.int64
    return dtype if dtype in (tf.float32, tf.float64) else tf.float32


def _texts(rows: tf.Tensor) -> tf.Tensor:
    """Texts travel as the numbers of their bytes, filled up to the longest one."""
    lengths = tf.strings.length(tf.reshape(rows, [-1]))
    lengths_of_all = gather_replicas(lengths)
    longest = tf.reduce_max(tf.concat([lengths_of_all, [1]], axis=0))
    codes = tf.io.decode_raw(tf.reshape(rows, [-1]), tf.uint8, fixed_length=longest)
    codes_of_all = tf.cast(gather_replicas(tf.cast(codes, tf.int32)), tf.int32)
    is_over = tf.range(longest)[tf.newaxis] >= lengths_of_all[:, tf.newaxis]
    letters = tf.constant([bytes([code]) for code in range(256)] + [b""])
    spelled = tf.gather(letters, tf.where(is_over, _NOTHING, codes_of_all))
    joined = tf.strings.reduce_join(spelled, axis=1)
    return tf.reshape(joined, tf.concat([[-1], tf.shape(rows)[1:]], axis=0))
