"""TFRecord files with random access: any record by its number, each checked when it is read."""

import os
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfscale.data.collection import Collection
from tfscale.data.formats import record_index
from tfscale.data.formats.byte_ranges import ByteRanges, numbered, place
from tfscale.data.formats.listing import checksum, list_files
from tfscale.errors import ConfigError

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")


def records(
    files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    say: Callable[[str], None] | None = None,
) -> Collection:
    """The records of TFRecord files, file after file.

    The first process that asks makes the indexes, once: see `record_index`.

    Args:
        files: a path or a glob pattern, or several; sorted by their paths. None is compressed.
        say: gets a line every ten seconds of waiting for another process that makes the indexes.

    Returns:
        Records that are string scalars, as they were written.

    Raises:
        ConfigError: there is no such file, one is cut off, damaged or compressed, or isn't as the
            manifest beside it says.
    """
    listing = list_files(files)
    indexes = record_index.indexes_of(listing.paths, say)
    counts = [len(index) for index in indexes]
    stored = listing.stored(counts)
    ranges = ByteRanges(
        listing.paths,
        numbered(counts),
        np.concatenate([index.offsets for index in indexes]),
        np.concatenate([index.sizes for index in indexes]),
        _data_of,
    )
    return Collection(
        num_records=len(ranges),
        spec=tf.TensorSpec([], tf.string),
        read=ranges.tensor,
        checksum=checksum("tfrecord", stored),
        files=stored,
        place_of=ranges.place_of,
    )


def examples(
    files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    features: Mapping[str, Any],
    say: Callable[[str], None] | None = None,
) -> Collection:
    """The records of TFRecord files of `tf.train.Example`, parsed.

    Args:
        files: as of `records`.
        features: of each example, as `tf.io.parse_single_example` wants them: a
            `tf.io.FixedLenFeature` for each name.
        say: as of `records`.

    Returns:
        Records that are dicts of tensors.

    Raises:
        ConfigError: as of `records`.
    """
    wanted = dict(features)
    return records(files, say).map(lambda record: tf.io.parse_single_example(record, wanted))


def _data_of(stored: bytes, path: str, offset: int) -> bytes:
    """The data between a record's header and its checksum, which has to fit."""
    data = stored[record_index.HEADER_BYTES : -4]
    (length,) = _LENGTH.unpack_from(stored)
    (crc,) = _CRC.unpack_from(stored, len(stored) - 4)
    if length != len(data) or record_index.masked_crc32c(data) != crc:
        raise ConfigError(
            f"{place(path, offset)}: the record is damaged, its checksum doesn't fit; expected "
            f"{len(data):,} bytes as they were written. Copy the file again from where it was made."
        )
    return data
