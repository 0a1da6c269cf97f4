"""A shuffle without a seed inside `load`: each process would have an order of its own."""

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.structures import Foreign


@contextlib.contextmanager
def no_unseeded_shuffle(call: str) -> Iterator[None]:
    """Refuses a body that shuffles a dataset without a seed.

    With TensorFlow's global seed such a shuffle has one order in each process as long as all of
    them do the same before it; after a resume, or with another version of the file, it has not.

    Args:
        call: what of the user's is the body, for the message.

    Raises:
        ConfigError: it did.
    """
    original = tf.data.Dataset.shuffle
    unseeded: list[str] = []

    def shuffle(
        self: tf.data.Dataset,
        buffer_size: Foreign,
        seed: Foreign = None,
        *args: Foreign,
        **kwargs: Foreign,
    ) -> tf.data.Dataset:
        if seed is None:
            unseeded.append(type(self).__name__)
        return original(self, buffer_size, seed, *args, **kwargs)

    tf.data.Dataset.shuffle = shuffle
    try:
        yield
    finally:
        tf.data.Dataset.shuffle = original
    if unseeded:
        raise ConfigError(
            f"{call} shuffles without a seed, in an order that each worker and each run may have "
            "for itself; expected a fixed order. Remove .shuffle(...): training is mixed by "
            "itself, and `shuffle = False` in the file would keep the order. list_files needs "
            "shuffle=False."
        )
