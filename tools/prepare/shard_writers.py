"""Writes a shard: a file of records that is there whole or not at all."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfscale.data.formats import array_record, record_index
from tfscale.data.formats.record_index import FRAME_BYTES, RecordIndex
from tfscale.errors import ConfigError
from tfscale.files import atomic
from tfscale.files.manifest import Shard, sha256_of

Records = Iterator[bytes]


def write_tfrecord(path: Path, records: Records) -> Shard:
    """Writes a TFRecord file, and the index beside it.

    Raises:
        OSError: there is no room, or no permission.
        ConfigError: what was written isn't all there.
    """
    sizes = []
    with atomic.replacing(path) as temporary:
        with tf.io.TFRecordWriter(str(temporary)) as file:
            for record in records:
                file.write(record)
                sizes.append(len(record) + FRAME_BYTES)
        ends = np.cumsum([0, *sizes])
        shard = Shard(len(sizes), temporary.stat().st_size, sha256_of(temporary))
        _require_all(path, shard.num_bytes, int(ends[-1]), "bytes")
    index = RecordIndex(ends[:-1].astype(np.int64), np.array(sizes, np.int64))
    record_index.write(record_index.index_path(str(path)), index)
    return shard


def write_array_record(path: Path, records: Records) -> Shard:
    """Writes an ArrayRecord file in which each record can be reached alone.

    Raises:
        OSError: there is no room, or no permission.
        ConfigError: its package isn't installed, or what was written isn't all there.
    """
    count = 0
    with atomic.replacing(path) as temporary:
        try:
            file = array_record.module().ArrayRecordWriter(str(temporary), "group_size:1")
            for record in records:
                file.write(record)
                count += 1
            file.close()
        except RuntimeError as error:  # the package has no other
            raise OSError(f"{path} can't be written: {error}") from error
        _require_all(path, array_record.count(str(temporary)), count, "records")
        return Shard(count, temporary.stat().st_size, sha256_of(temporary))


# How to write, by the names that --format has.
WRITERS: dict[str, Callable[[Path, Records], Shard]] = {
    "tfrecord": write_tfrecord,
    "array_record": write_array_record,
}


def _require_all(path: Path, found: int, written: int, what: str) -> None:
    if found != written:
        raise ConfigError(
            f"{path} has {found:,} {what} after {written:,} were written; expected all of them. "
            "Look at the disk and its quota, and start again."
        )
