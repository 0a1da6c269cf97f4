"""Records that a format holds in memory: names of files, labels, boxes, columns of a table."""

import os
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfscale.data.collection import Collection
from tfscale.errors import ConfigError
from tfscale.structures import Structure

# Says where a record, by its number, came from.
PlaceOf: TypeAlias = Callable[[int], str]


@dataclass(frozen=True)
class Rows:
    """A leaf of which each record has its own number of rows, filled up when it is read.

    Held without what fills it up: of a hundred places for boxes most pictures need five.

    Args:
        values: (sum of the counts, ...), the rows of all records one after the other.
        counts: int64 (n,), how many rows belong to each record.
        size: how many rows each record has once it is filled up; at least the largest count.
        fill: what fills up.
    """

    values: npt.NDArray[Any]
    counts: npt.NDArray[np.int64]
    size: int
    fill: float | int | bool = 0


def collection(name: str, leaves: Structure, place_of: PlaceOf | None = None) -> Collection:
    """A collection of what is in memory.

    Args:
        name: what it is, for messages.
        leaves: a structure of arrays (n, ...), of `texts`, and of `Rows` of n records.
        place_of: says where a record came from, for messages.

    Returns:
        n records. The checksum is of everything that they hold.

    Raises:
        ConfigError: the leaves differ in length, or there are none.
    """
    given = tf.nest.flatten(leaves)
    lengths = [len(leaf.counts if isinstance(leaf, Rows) else leaf) for leaf in given]
    if len(set(lengths)) != 1 or not lengths[0]:
        raise ConfigError(
            f"{name} has parts of {lengths} records; expected as many in each, and at least one."
        )
    with tf.device("CPU:0"):  # never a copy on a GPU
        kept = [_kept(leaf) for leaf in given]
    specs = [_spec(leaf, rows) for leaf, rows in zip(given, kept, strict=True)]

    def read(numbers: tf.Tensor) -> Structure:
        found = [_rows_at(leaf, rows, numbers) for leaf, rows in zip(given, kept, strict=True)]
        return tf.nest.pack_sequence_as(leaves, found)

    return Collection(
        num_records=lengths[0],
        spec=tf.nest.pack_sequence_as(leaves, specs),
        read=read,
        checksum=_checksum(given),
        place_of=place_of,
        is_held=True,
    )


def texts(values: Iterable[str | bytes]) -> npt.NDArray[np.object_]:
    """Texts as one leaf, where a list of them would be a structure; names of files are encoded."""
    return np.array([os.fsencode(value) for value in values], object)


def below(held: Collection, key: str, folder: str) -> Collection:
    """The same records, whose names of files at `key` become paths below a folder.

    The checksum stays that of the names: workers may have the same files in different places.

    Args:
        held: records that are dicts.
        key: of a scalar text.
        folder: where the files are.
    """
    start = os.fsencode(os.path.join(folder, ""))

    def read(numbers: tf.Tensor) -> Structure:
        records = held.read(numbers)
        return {**records, key: start + records[key]}

    return replace(held, read=read)


def _kept(leaf: Structure) -> Structure:
    if isinstance(leaf, Rows):
        return tf.RaggedTensor.from_row_lengths(leaf.values, leaf.counts)
    return tf.constant(leaf)


def _rows_at(leaf: Structure, kept: Structure, numbers: tf.Tensor) -> tf.Tensor:
    found = tf.gather(kept, numbers)
    if not isinstance(leaf, Rows):
        return found
    fill = tf.constant(leaf.fill, kept.dtype)
    return found.to_tensor(fill, shape=(None, leaf.size, *leaf.values.shape[1:]))


def _spec(leaf: Structure, kept: Structure) -> tf.TensorSpec:
    if isinstance(leaf, Rows):
        return tf.TensorSpec((leaf.size, *leaf.values.shape[1:]), kept.dtype)
    return tf.TensorSpec(kept.shape[1:], kept.dtype)


def _checksum(leaves: list[Structure]) -> int:
    """CRC-32 of all that is held, in its order."""
    total = 0
    for leaf in leaves:
        parts = (leaf.values, leaf.counts) if isinstance(leaf, Rows) else (leaf,)
        for part in parts:
            if isinstance(part, np.ndarray) and part.dtype != object:
                total = zlib.crc32(np.ascontiguousarray(part).tobytes(), total)
            else:
                for text in part:
                    total = zlib.crc32(text + b"\0", total)
    return total
