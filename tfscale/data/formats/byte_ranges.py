"""Records that are byte ranges of files, read many at a time and in any order.

A call of Python from TensorFlow takes 0.3 ms, which a batch of 64 and more records shares. The
ranges are read with `pread` and not through a memory map, which would be 1 us faster for 1 kB: a
map of a file that shrinks, or that a network doesn't give, ends the process by a signal (SIGBUS)
where `pread` gives an error, and it holds the interpreter while it waits for a disk. The system is
told of all ranges of some files before the first is read, so that a disk or a server gets them at
once and not one after the other.
"""

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfscale.data.formats.open_files import Descriptor, OpenFiles
from tfscale.errors import ConfigError

_MOST_AT_ONCE = 2**30  # Linux reads at most 2 GiB with one call
# Held by one call: each of a dozen threads may hold as many, beside those that stay open.
_FILES_AT_ONCE = 32

Decode = Callable[[bytes, str, int], bytes]


def as_stored(stored: bytes, path: str, offset: int) -> bytes:
    """A record that is its bytes."""
    del path, offset
    return stored


@dataclass(frozen=True)
class ByteRanges:
    """Where records lie, and how to get them.

    Args:
        paths: of the files.
        file_numbers: integers (n,): in which of them each record lies.
        offsets: int64 (n,): at which byte each begins.
        sizes: int64 (n,): how many bytes each has.
        decode: makes the record of what is stored; path and offset are for its messages.
        opened: the files that are open now.
    """

    paths: tuple[str, ...]
    file_numbers: NDArray[np.integer[Any]]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    decode: Decode = as_stored
    opened: OpenFiles[Descriptor] = field(default_factory=lambda: OpenFiles(Descriptor))

    def __len__(self) -> int:
        """How many records."""
        return len(self.offsets)

    def place_of(self, number: int) -> str:
        """Where a record lies, for messages."""
        return place(self.paths[self.file_numbers[number]], int(self.offsets[number]))

    def read(self, numbers: NDArray[np.int64]) -> NDArray[np.object_]:
        """Reads records; may be called from several threads.

        Args:
            numbers: int64 (k,), each from 0 to n - 1.

        Returns:
            bytes (k,).

        Raises:
            ConfigError: a file vanished, or ends before the record does.
            OSError: it can't be read, by what may be over the next time.
        """
        if len(numbers) and int(numbers.min()) < 0:  # NumPy would count from the end
            raise IndexError(f"record {numbers.min()} was asked for; expected 0 to {len(self)}")
        records = np.empty(len(numbers), object)
        for ranges in self._parts(numbers):
            opened = {path: self._open(path, offset) for _, path, offset, _ in ranges}
            if len(numbers) > 1:
                for _, path, offset, size in ranges:
                    _announce(opened[path], offset, size)
            for row, path, offset, size in ranges:
                stored = _stored(opened[path], path, offset, size)
                records[row] = self.decode(stored, path, offset)
        return records

    def tensor(self, numbers: tf.Tensor) -> tf.Tensor:
        """The same in a function that TensorFlow traces.

        Args:
            numbers: int64 (k,).

        Returns:
            string (k,).
        """
        records = tf.numpy_function(self.read, [numbers], tf.string, stateful=False)
        return tf.ensure_shape(records, numbers.shape)

    def _parts(self, numbers: NDArray[np.int64]) -> Iterator[list[tuple[int, str, int, int]]]:
        """(Place in the result, path, offset, size), file by file, of a few files at a time."""
        files = self.file_numbers[numbers]
        rows = np.argsort(files, kind="stable")
        offsets, sizes = self.offsets[numbers].tolist(), self.sizes[numbers].tolist()
        # How many other files come before each row's.
        ranks = np.cumsum(np.diff(files[rows], prepend=files[rows][:1]) != 0) // _FILES_AT_ONCE
        pairs = zip(ranks.tolist(), rows.tolist(), strict=True)
        for _, part in itertools.groupby(pairs, key=lambda pair: pair[0]):
            yield [(row, self.paths[files[row]], offsets[row], sizes[row]) for _, row in part]

    def _open(self, path: str, offset: int) -> Descriptor:
        try:
            return self.opened.get(path)
        except OSError as error:
            raise ConfigError(
                f"{place(path, offset)}: the file can't be opened any more ({error.strerror}); "
                "expected it to stay as it was while it is read. Bring it back, and start again."
            ) from error


def place(path: str, offset: int) -> str:
    """A byte of a file, for messages: "a.tfrecord, byte 1,024"."""
    return f"{path}, byte {offset:,}"


def numbered(counts: Sequence[int]) -> NDArray[np.int32]:
    """In which file each record lies, where files hold so many.

    Returns:
        int32 (n,).
    """
    return np.repeat(np.arange(len(counts), dtype=np.int32), counts)


def _announce(opened: Descriptor, offset: int, size: int) -> None:
    if hasattr(os, "posix_fadvise"):  # macOS has none
        os.posix_fadvise(opened.number, offset, size, os.POSIX_FADV_WILLNEED)


def _stored(opened: Descriptor, path: str, offset: int, size: int) -> bytes:
    try:
        stored = os.pread(opened.number, min(size, _MOST_AT_ONCE), offset)
        while len(stored) < size:  # rare: more than a call gives, a network, or the end
            rest = min(size - len(stored), _MOST_AT_ONCE)
            more = os.pread(opened.number, rest, offset + len(stored))
            if not more:
                raise ConfigError(
                    f"{place(path, offset)}: the file ends {size - len(stored):,} bytes before "
                    f"its record of {size:,} does; expected it to stay as it was while it is "
                    "read. Copy it again, and start again."
                )
            stored += more
        return stored
    except OSError as error:
        raise OSError(
            error.errno, f"{place(path, offset)} can't be read: {error.strerror}"
        ) from error
