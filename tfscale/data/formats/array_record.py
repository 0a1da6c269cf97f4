"""ArrayRecord files: a format made for random access, whose files have their index at the end.

What TFDS and Grain read best; it is compressed piece by piece. A file should be written with
`group_size:1`, as TFDS and launch/prepare.py do: of others a whole group is unpacked for each
record. Its package is needed for nothing else, and imported only here:
https://github.com/google/array_record
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfscale.data.collection import Collection
from tfscale.data.formats.byte_ranges import numbered
from tfscale.data.formats.listing import checksum, list_files
from tfscale.data.formats.open_files import OpenFiles
from tfscale.errors import ConfigError
from tfscale.structures import Foreign

# No reading ahead: the next record lies elsewhere.
_RANDOM_ACCESS = "readahead_buffer_size:0,max_parallelism:0"
# Of each open file, and read for every record: with 64 KiB 32 times the bytes of 1 kB records, with
# the package's own 1 MiB 500 times. A record that is larger is read by one call all the same.
_BUFFER_BYTES = 2**12


def records(files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> Collection:
    """The records of ArrayRecord files, file after file.

    Args:
        files: a path or a glob pattern, or several; sorted by their paths.

    Returns:
        Records that are string scalars, as they were written.

    Raises:
        ConfigError: the package isn't installed, there is no such file, or one is cut off or
            holds nothing, or isn't as the manifest beside it says.
    """
    listing = list_files(files)
    counts = [count(path) for path in listing.paths]
    stored = listing.stored(counts)
    for number, (path, found) in enumerate(zip(listing.paths, counts, strict=True)):
        if not found and listing.promised(number) is None:
            raise ConfigError(
                f"{path} has {listing.sizes[number]:,} bytes and no record, as a file that was cut "
                "off has; expected records. Copy it again, or leave it out if it is empty."
            )
    held = _Records(listing.paths, numbered(counts), np.cumsum([0, *counts]))
    return Collection(
        num_records=sum(counts),
        spec=tf.TensorSpec([], tf.string),
        read=held.tensor,
        checksum=checksum("array_record", stored),
        files=stored,
        place_of=held.place_of,
    )


def count(path: str) -> int:
    """How many records an ArrayRecord file holds.

    Of one that was cut off the package says 0, and what is wrong only when it is closed.

    Raises:
        ConfigError: the package isn't installed, or the file can't be opened, or has no index.
    """
    try:
        reader = _reader(path)
        found = int(reader.num_records())
        reader.close()
    except OSError as error:
        raise ConfigError(f"{path} can't be opened ({error.strerror}); expected a file.") from error
    except RuntimeError as error:
        raise ConfigError(
            f"{path} is cut off or damaged, or no ArrayRecord file ({error}); expected an index "
            "at its end. Copy the file again from where it was made."
        ) from error
    return found


def module() -> Foreign:
    """The package's reader and writer.

    Raises:
        ConfigError: it isn't installed.
    """
    try:
        from array_record.python import array_record_module
    except ImportError as error:
        raise ConfigError(
            f"ArrayRecord needs the package array_record ({error}); expected it to be installed. "
            "Type: pip install array_record"
        ) from error
    return array_record_module


def _reader(path: str) -> Foreign:
    os.stat(path)  # the package takes a file that isn't there for an empty one
    return module().ArrayRecordReader(path, _RANDOM_ACCESS, file_reader_buffer_size=_BUFFER_BYTES)


@dataclass(frozen=True)
class _Records:
    """Which record lies in which file.

    Args:
        paths: of the files.
        file_numbers: int32 (n,): in which of them each record lies.
        firsts: int64 (files + 1,): the number of each file's first record.
        opened: the files that are open now.
    """

    paths: tuple[str, ...]
    file_numbers: NDArray[np.int32]
    firsts: NDArray[np.int64]
    opened: OpenFiles[Foreign] = field(default_factory=lambda: OpenFiles(_reader))

    def place_of(self, number: int) -> str:
        file = self.file_numbers[number]
        return _place(self.paths[file], int(number - self.firsts[file]))

    def tensor(self, numbers: tf.Tensor) -> tf.Tensor:
        records = tf.numpy_function(self.read, [numbers], tf.string, stateful=False)
        return tf.ensure_shape(records, numbers.shape)

    def read(self, numbers: NDArray[np.int64]) -> NDArray[np.object_]:
        if len(numbers) and int(numbers.min()) < 0:  # NumPy would count from the end
            raise IndexError(f"record {numbers.min()} was asked for; expected 0 and more")
        records = np.empty(len(numbers), object)
        files = self.file_numbers[numbers]
        within = numbers - self.firsts[files]
        for file in np.unique(files).tolist():
            rows = np.flatnonzero(files == file)
            records[rows] = self._read_of(self.paths[file], within[rows].tolist())
        return records

    def _read_of(self, path: str, numbers: list[int]) -> NDArray[np.object_]:
        records = np.empty(len(numbers), object)
        try:
            reader = self.opened.get(path)
        except (OSError, RuntimeError) as error:
            raise ConfigError(
                f"{_place(path, numbers[0])}: the file can't be opened any more ({error}); "
                "expected it to stay as it was while it is read. Bring it back, and start again."
            ) from error
        try:
            records[:] = reader.read(numbers)
        except (RuntimeError, ValueError) as error:
            raise self._damaged(reader, path, numbers, error) from error
        return records

    def _damaged(
        self, reader: Foreign, path: str, numbers: list[int], error: Exception
    ) -> ConfigError:
        """Which of them it was: the reader says only that one was."""
        for number in numbers:
            try:
                reader.read([number])
            except RuntimeError as own:
                return ConfigError(
                    f"{_place(path, number)}: the record is damaged ({own}); expected it as it "
                    "was written. Copy the file again from where it was made."
                )
        return ConfigError(f"{_place(path, numbers[0])}: reading failed once ({error}).")


def _place(path: str, number: int) -> str:
    return f"{path}, record {number:,} of it"
