"""Where the records of a TFRecord file lie: read off its headers once, and kept beside the file.

A record is its length (8 bytes), the length's checksum (4), the data, and the data's checksum (4):
https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details. `FILE.idx` has a
line "OFFSET SIZE" for each, with the 16 bytes in the size: what NVIDIA DALI's `tfrecord2idx` writes
and reads. An index that doesn't fit its file, or is older, is made anew. Where the file's folder
can't be written to, the index goes into the user's cache.
"""

import contextlib
import hashlib
import os
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from tfscale.data.formats.compression import compression_of
from tfscale.errors import ConfigError
from tfscale.files import atomic
from tfscale.files.once import cache_folder, once

INDEX_SUFFIX = ".idx"
HEADER_BYTES = 12
FRAME_BYTES = 16  # header, and the data's checksum
_HEADER = struct.Struct("<QI")
_WINDOW_BYTES = 2**18
_AT_ONCE = 8  # files whose headers are read at the same time
_WORDS = b"0123456789 \n"


@dataclass(frozen=True)
class RecordIndex:
    """Where the records of one file lie.

    Args:
        offsets: int64 (n,): at which byte each begins, with its header.
        sizes: int64 (n,): how many bytes each has, with the 16 around the data.
    """

    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def __len__(self) -> int:
        """How many records."""
        return len(self.offsets)


def masked_crc32c(data: bytes) -> int:
    """The checksum of TFRecord: a CRC-32C, turned so that one of data with its own CRC is fine."""
    crc: int = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def index_path(path: str) -> Path:
    """Where the index of a file lies, if its folder can be written to."""
    return Path(path + INDEX_SUFFIX)


def indexes_of(paths: Sequence[str], say: Callable[[str], None] | None = None) -> list[RecordIndex]:
    """The indexes of files; those that aren't there are made, by one process of all that ask.

    Args:
        paths: TFRecord files.
        say: gets a line every ten seconds of waiting for that process.

    Raises:
        ConfigError: a file is cut off, damaged, compressed or none of this format.
    """
    found = {path: _kept(path) for path in paths}
    by_folder: dict[Path, list[str]] = {}
    for path in [path for path, index in found.items() if index is None]:
        by_folder.setdefault(Path(path).absolute().parent, []).append(path)
    for folder, missing in by_folder.items():
        found |= _make_once(folder, missing, say)
    return [build(path) if (index := found[path]) is None else index for path in paths]


def build(path: str) -> RecordIndex:
    """Reads where the records of a file lie off their headers; the data is passed over.

    Raises:
        ConfigError: it is cut off, damaged, compressed or none of this format.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise ConfigError(f"{path} can't be opened ({error.strerror}); expected a file.") from error
    try:
        size = os.fstat(descriptor).st_size
        offsets = np.array(_offsets(descriptor, size, path), np.int64)
    finally:
        os.close(descriptor)
    return RecordIndex(offsets, np.diff(offsets, append=size))


def write(path: Path, index: RecordIndex) -> None:
    """Writes an index, whole or not at all.

    Raises:
        OSError: it couldn't be written.
    """
    pairs = zip(index.offsets.tolist(), index.sizes.tolist(), strict=True)
    atomic.write_text(path, "".join(f"{offset} {size}\n" for offset, size in pairs))


def read(path: Path, num_bytes: int) -> RecordIndex | None:
    """Reads an index.

    Args:
        path: of the index.
        num_bytes: size of its file.

    Returns:
        None where it isn't there, or isn't that of such a file: records lie one after the other,
        from the first byte to the last.
    """
    try:
        text = path.read_bytes()
    except OSError:
        return None
    lines = text.count(b"\n")
    if text.translate(None, _WORDS) or (text and not text.endswith(b"\n")):
        return None
    numbers = np.fromstring(text.decode("ascii"), np.int64, sep=" ")  # 20 times faster than lines
    if len(numbers) != 2 * lines:
        return None
    offsets, sizes = np.ascontiguousarray(numbers.reshape(-1, 2).T)
    follow = np.diff(offsets, append=num_bytes)
    if (offsets[:1] != 0).any() or (sizes < FRAME_BYTES).any() or (sizes != follow).any():
        return None
    return RecordIndex(offsets, sizes) if lines or not num_bytes else None


def _make_once(
    folder: Path, paths: Sequence[str], say: Callable[[str], None] | None
) -> dict[str, RecordIndex | None]:
    made: dict[str, RecordIndex | None] = {}

    def make() -> None:
        missing = [path for path in paths if made.get(path) is None]
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            made.update(zip(missing, threads.map(build, missing), strict=True))
        for path in missing:
            index = made[path]
            assert index is not None  # noqa: S101 - it was just made
            for place in (index_path(path), _cached_path(path)):
                # Without room for it, or permission, this process has what it needs all the same.
                with contextlib.suppress(OSError):
                    place.parent.mkdir(parents=True, exist_ok=True)
                    write(place, index)
                    break

    def are_there() -> bool:
        made.update({path: _kept(path) for path in paths if made.get(path) is None})
        return None not in made.values()

    once(folder, "index", make, say=say, is_done=are_there)
    return made


def _kept(path: str) -> RecordIndex | None:
    """The index that fits a file, from beside it or from the cache."""
    try:
        file = os.stat(path)
        for index in (index_path(path), _cached_path(path)):
            # A file that took another's place is younger than that one's index.
            if index.is_file() and index.stat().st_mtime_ns >= file.st_mtime_ns:
                found = read(index, file.st_size)
                if found is not None:
                    return found
    except OSError:  # what is wrong with the file, `build` says
        pass
    return None


def _cached_path(path: str) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()
    return cache_folder("index") / f"{name}{INDEX_SUFFIX}"


def _offsets(descriptor: int, size: int, path: str) -> list[int]:
    """Where each record begins. Many short ones are read together; of long ones their headers."""
    offsets: list[int] = []
    window, first = b"", 0  # what was read last, and where in the file it begins
    at = length = 0
    while at < size:
        place = at - first
        if place + HEADER_BYTES > len(window):
            wanted = _WINDOW_BYTES if length < _WINDOW_BYTES // 16 else HEADER_BYTES
            window, first, place = os.pread(descriptor, wanted, at), at, 0
            if len(window) < HEADER_BYTES:
                found = f"{len(window)} bytes are left, of a header of {HEADER_BYTES}"
                raise _cut_off(path, len(offsets), at, found)
        length, crc = _HEADER.unpack_from(window, place)
        if masked_crc32c(window[place : place + 8]) != crc:
            raise _no_header(path, len(offsets), at, os.pread(descriptor, 16, 0))
        if at + length + FRAME_BYTES > size:
            found = f"{size - at:,} bytes are left, of {length + FRAME_BYTES:,}"
            raise _cut_off(path, len(offsets), at, found)
        offsets.append(at)
        at += length + FRAME_BYTES
    return offsets


def _cut_off(path: str, number: int, at: int, found: str) -> ConfigError:
    return ConfigError(
        f"{path} is cut off: of record {number}, at byte {at:,}, {found}; expected a whole record. "
        "Copy the file again from where it was made."
    )


def _no_header(path: str, number: int, at: int, beginning: bytes) -> ConfigError:
    compression = compression_of(beginning) if number == 0 else None
    if compression:
        return ConfigError(
            f"{path} is compressed ({compression}); expected a TFRecord file that isn't, because "
            "only in such a one a record can be reached without all before it. Unpack it, or give "
            f'tf.data.TFRecordDataset(name, "{compression.upper()}") from load.'
        )
    return ConfigError(
        f"{path} is damaged, or no TFRecord file: at byte {at:,}, of record {number}, a length and "
        "its checksum don't fit; expected a record. Copy the file again from where it was made."
    )
