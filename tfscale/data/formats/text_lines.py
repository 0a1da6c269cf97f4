"""Text files, each line a record that can be reached by its number."""

import io
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfscale.data.collection import Collection
from tfscale.data.formats.byte_ranges import ByteRanges, numbered
from tfscale.data.formats.compression import compression_of
from tfscale.data.formats.listing import checksum, list_files
from tfscale.errors import ConfigError

_CHUNK_BYTES = 2**24
_UTF_8_MARK = b"\xef\xbb\xbf"
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_NEWLINE, _RETURN = b"\n"[0], b"\r"[0]


def records(files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> Collection:
    """The lines of text files, file after file, without their ends.

    Every file is read through once, to find where its lines are: seconds for a gigabyte.
    16 bytes for each line stay in memory, and 4 more for its file.

    Args:
        files: a path or a glob pattern, or several; sorted by their paths. They are UTF-8, with
            lines that end in "\\n" or "\\r\\n"; the last one need not.

    Returns:
        Records that are string scalars; a blank line is an empty one.

    Raises:
        ConfigError: there is no such file, one is compressed or UTF-16, or isn't as the manifest
            beside it says.
    """
    listing = list_files(files)
    lines = [_lines_of(path) for path in listing.paths]
    counts = [len(starts) for starts, _ in lines]
    stored = listing.stored(counts)
    starts, ends = (np.concatenate(each) for each in zip(*lines, strict=True))
    ranges = ByteRanges(listing.paths, numbered(counts), starts, ends - starts)
    return Collection(
        num_records=len(ranges),
        spec=tf.TensorSpec([], tf.string),
        read=ranges.tensor,
        checksum=checksum("text_lines", stored),
        files=stored,
        place_of=ranges.place_of,
    )


def _lines_of(path: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where lines begin and end, both int64 (n,); their ends of line aren't theirs."""
    newlines, ends = [], []
    buffer = bytearray(_CHUNK_BYTES)
    chunk = np.frombuffer(buffer, np.uint8)
    at, last = 0, 0  # the file's size so far, and the byte before
    with _opened(path) as file:
        beginning = file.read(16)
        _require_text(path, beginning)
        file.seek(0)
        while count := file.readinto(buffer):
            found = np.flatnonzero(chunk[:count] == _NEWLINE)
            before = np.where(found, chunk[found - 1], last)  # found is 0 for the first byte
            newlines.append(found + at)
            ends.append(found + at - (before == _RETURN))
            at, last = at + count, chunk[count - 1]
    mark = len(_UTF_8_MARK) if beginning.startswith(_UTF_8_MARK) else 0
    starts = np.concatenate([[mark], *(each + 1 for each in newlines)]).astype(np.int64)
    stops = np.concatenate([*ends, [at]]).astype(np.int64)
    # What follows the last end of line is a line only if it is something.
    return (starts, stops) if starts[-1] < at else (starts[:-1], stops[:-1])


def _opened(path: str) -> io.FileIO:
    try:
        return open(path, "rb", buffering=0)
    except OSError as error:
        raise ConfigError(f"{path} can't be opened ({error.strerror}); expected a file.") from error


def _require_text(path: str, beginning: bytes) -> None:
    compression = compression_of(beginning)
    if compression and compression != "zlib":  # whose first bytes are letters
        raise ConfigError(
            f"{path} is compressed ({compression}); expected text, because only in that a line "
            "can be reached without all before it. Unpack it."
        )
    if beginning.startswith(_UTF_16_MARKS):
        raise ConfigError(
            f"{path} is UTF-16; expected UTF-8. Convert it, for example: iconv -f UTF-16 -t UTF-8"
        )
