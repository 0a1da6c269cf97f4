"""What launch/prepare.py wrote, read back: records of the structure that they were given in.

A record is a `tf.train.Example`, with a feature for each tensor by its name (`names_of`), whose one
value is what `tf.io.serialize_tensor` makes of it. A record that is one string is stored as it is:
it may be a JPEG, or an example already.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from tfscale.data.collection import Collection
from tfscale.data.formats import array_record, tfrecord
from tfscale.errors import ConfigError
from tfscale.files import manifest
from tfscale.structures import Json, Spec, Structure

_READERS = {"tfrecord": tfrecord.records, "array_record": array_record.records}
_ALONE = "record"  # the name of a record that is one tensor


def records(folder: str | os.PathLike[str]) -> Collection:
    """The records of a folder of shards, in the order of the split that they were made of.

    Args:
        folder: of one split, with the manifest that says what the records are.

    Returns:
        Records of the same structure, shapes and dtypes as `load` gave.

    Raises:
        ConfigError: the preparation isn't finished, or a shard is missing or isn't as it was
            written, as far as names, sizes and counts show it.
    """
    path = Path(os.path.expanduser(folder))
    found = manifest.verify(path, hashes=False)
    if found.format not in _READERS:
        raise ConfigError(
            f"{path / manifest.NAME} says format {found.format!r}; expected one of "
            f"{', '.join(_READERS)}. Prepare anew."
        )
    stored = _READERS[found.format]([path / name for name in found.files])
    spec = from_json(found.spec)
    return stored if is_plain(spec) else stored.map(lambda text: parsed(text, spec))


def parsed(text: tf.Tensor, spec: Spec) -> Structure:
    """The record of a string, in a function that TensorFlow traces.

    Args:
        text: string scalar.
        spec: of the record.
    """
    if is_plain(spec):
        return text
    names = names_of(spec)
    features = {name: tf.io.FixedLenFeature([], tf.string) for name in names}
    found = tf.io.parse_single_example(text, features)
    leaves = [
        tf.ensure_shape(tf.io.parse_tensor(found[name], leaf.dtype), leaf.shape)
        for name, leaf in zip(names, tf.nest.flatten(spec), strict=True)
    ]
    return tf.nest.pack_sequence_as(spec, leaves)


def from_json(said: Json) -> Spec:
    """The structure of a record, as the manifest has it: dicts, tuples, shapes and dtypes.

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
