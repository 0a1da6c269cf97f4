"""An order that is drawn without a seed inside `load`: each process would have one of its own."""

import contextlib
import inspect
from collections.abc import Iterator

import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.structures import Foreign

# What of tf.data draws, each with an argument `seed`. A `list_files` shuffles.
_DRAWING = ("shuffle", "random", "sample_from_datasets", "rejection_resample")


@contextlib.contextmanager
def no_unseeded_shuffle(call: str) -> Iterator[None]:
    """Refuses a body that shuffles or mixes datasets without a seed.

    With TensorFlow's global seed that has one order in each process as long as all of them do the
    same before it; after a resume, or with another version of the file, it has not.

    Args:
        call: what of the user's is the body, for the message.

    Raises:
        ConfigError: it did.
    """
    unseeded: list[str] = []
    originals = {name: inspect.getattr_static(tf.data.Dataset, name) for name in _DRAWING}
    for name, original in originals.items():
        watched = _watched(name, getattr(tf.data.Dataset, name), unseeded)
        is_static = isinstance(original, staticmethod)
        setattr(tf.data.Dataset, name, staticmethod(watched) if is_static else watched)
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(tf.data.Dataset, name, original)
    if "shuffle" in unseeded:
        raise ConfigError(
            f"{call} shuffles without a seed, in an order that each worker and each run may have "
            "for itself; expected a fixed order. Remove .shuffle(...): training is mixed by "
            "itself, and `shuffle = False` in the file would keep the order. list_files needs "
            "shuffle=False."
        )
    if unseeded:
        raise ConfigError(
            f"{call} calls {unseeded[0]} without a seed, so that each worker and each run may draw "
            f"other records; expected a fixed order. Use {unseeded[0]}(..., seed=0)."
        )


def _watched(name: str, function: Foreign, unseeded: list[str]) -> Foreign:
    """The same function, which notes when it isn't given a seed."""
    signature = inspect.signature(function)

    def call(*args: Foreign, **kwargs: Foreign) -> tf.data.Dataset:
        if signature.bind(*args, **kwargs).arguments.get("seed") is None:
            unseeded.append(name)
        return function(*args, **kwargs)

    return call
