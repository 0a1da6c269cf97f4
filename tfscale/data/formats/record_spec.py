"""The structure of a record as JSON, and names for its parts."""

from collections.abc import Iterator

import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.structures import Json, Spec

_ALONE = "record"  # the name of a record that is one tensor


def to_json(spec: Spec) -> Json:
    """A structure of specs: dicts and tuples, with shape and dtype of each tensor.

    Raises:
        ConfigError: it has something else, such as sparse tensors, or dicts by numbers.
    """
    if isinstance(spec, tf.TensorSpec):
        shape = None if spec.shape.rank is None else spec.shape.as_list()
        return {"dtype": spec.dtype.name, "shape": shape}
    if isinstance(spec, dict) and all(isinstance(name, str) for name in spec):
        return {"dict": {name: to_json(part) for name, part in spec.items()}}
    if type(spec) is tuple:
        return {"tuple": [to_json(part) for part in spec]}
    raise ConfigError(
        f"The records have {spec!r} in them; expected dense tensors, in dicts by names and in "
        "tuples. Give such records from load, for example with .map(tf.sparse.to_dense)."
    )


def from_json(said: Json) -> Spec:
    """The structure that `to_json` gave.

    Raises:
        ConfigError: it is no such thing.
    """
    try:
        if "dict" in said:
            return {name: from_json(part) for name, part in said["dict"].items()}
        if "tuple" in said:
            return tuple(from_json(part) for part in said["tuple"])
        return tf.TensorSpec(said["shape"], said["dtype"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"The spec {said!r} of the records can't be understood ({error}); expected what "
            "launch/prepare.py writes. Prepare anew."
        ) from error


def names_of(spec: Spec) -> list[str]:
    """A name for each tensor of a record, in the order of `tf.nest.flatten`: "image", "boxes/0".

    Raises:
        ConfigError: two have the same.
    """
    names = list(_names(spec, ""))
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ConfigError(
            f"The records have two parts that are called {min(twice)!r} when dicts within dicts "
            "are taken apart; expected other names. Rename one in load."
        )
    return names


def is_plain(spec: Spec) -> bool:
    """Whether a record is one string already, which is stored as it is."""
    return bool(spec == tf.TensorSpec([], tf.string))


def _names(spec: Spec, path: str) -> Iterator[str]:
    if isinstance(spec, dict):
        parts = [(name, spec[name]) for name in sorted(spec)]
    elif isinstance(spec, tuple):
        parts = [(str(number), part) for number, part in enumerate(spec)]
    else:
        yield path or _ALONE
        return
    for name, part in parts:
        yield from _names(part, f"{path}/{name}" if path else name)
