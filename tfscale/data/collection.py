"""Records that can be read in any order: what a format gives, and `load` may return.

A collection is described, not opened: making one reads an index or a list, and no record.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.process.cores import num_cores
from tfscale.structures import Spec, Structure


@dataclass(frozen=True)
class StoredFile:
    """A file that holds records of a collection.

    Args:
        path: where it is.
        num_records: how many it holds.
        num_bytes: its size.
    """

    path: str
    num_records: int
    num_bytes: int


@dataclass(frozen=True)
class Collection:
    """Records by their numbers, from 0 to `num_records - 1`.

    Args:
        num_records: how many.
        spec: structure, shape and dtype of one record as `read` gives it.
        read: of int64 (n,) numbers makes n records, stacked: every leaf has (n, ...). It is called
            in functions that TensorFlow traces, and in several threads at once.
        checksum: the same on workers that have the same records, and hardly on others; made from
            what is known without reading the records, such as names, counts and sizes.
        functions: what is then done to each record alone, one after the other; each takes a
            record as its one argument.
        files: that hold the records, in their order; none where they are held in memory.
        place_of: says where a record lies, such as "a.tfrecord, byte 1,024", for messages.
        is_held: whether reading is only a look into memory.
        note: what the plan says of them besides, such as what of a file is left out.
        classes: the names of the classes, in the order of their numbers, where records have one
            of them: `num_classes` of a dataset file that says none is their number.
    """

    num_records: int
    spec: Spec
    read: Callable[[tf.Tensor], Structure]
    checksum: int
    functions: tuple[Callable[[Any], Any], ...] = ()
    files: tuple[StoredFile, ...] = ()
    place_of: Callable[[int], str] | None = None
    is_held: bool = False
    note: str = ""
    classes: tuple[str, ...] = ()

    def map(self, function: Callable[[Any], Any]) -> "Collection":
        """The same records, of which a function makes others; it runs in parallel, when needed.

        Args:
            function: takes a record as its one argument.
        """
        return replace(self, functions=(*self.functions, function))

    def finished(self, record: Structure) -> Structure:
        """What the functions make of a record that `read` gave."""
        for function in self.functions:
            record = function(record)
        return record

    def at(self, number: tf.Tensor) -> Structure:
        """The record of a number, an int64 scalar."""
        stacked = self.read(number[tf.newaxis])
        return self.finished(tf.nest.map_structure(lambda leaf: leaf[0], stacked))

    def take(self, count: int) -> "Collection":
        """The first records; all of them if there are fewer, or for -1."""
        count = self.num_records if count < 0 else min(count, self.num_records)
        return self.select(np.arange(count))

    def skip(self, count: int) -> "Collection":
        """The records behind the first ones; none if there are no more, or for -1."""
        count = self.num_records if count < 0 else min(count, self.num_records)
        return self.select(np.arange(count, self.num_records))

    def split(self, fraction: float, *, seed: int = 0) -> tuple["Collection", "Collection"]:
        """Two parts, each in the order of the records: by seed and number of records alone.

        Args:
            fraction: of the records in the second part, 0 to 1; rounded to whole records.
            seed: which records they are.

        Returns:
            For example those of training and those of validation.

        Raises:
            ConfigError: the fraction isn't between 0 and 1, or leaves one part empty.
        """
        count = round(fraction * self.num_records) if 0 < fraction < 1 else 0
        if not 0 < count < self.num_records:
            raise ConfigError(
                f"{fraction} of {self.num_records:,} records leave one part empty; expected a "
                "fraction between 0 and 1 that gives each part one record or more. Use for example "
                "0.2."
            )
        # Of the generator whose numbers NumPy never changes.
        order = np.random.RandomState(seed).permutation(self.num_records)
        return self.select(np.sort(order[count:])), self.select(np.sort(order[:count]))

    def filter(self, predicate: Callable[[Any], Any]) -> "Collection":
        """The records that a function wants; all are read once, when this is called.

        Args:
            predicate: takes a record as its one argument, and gives a bool scalar.
        """
        numbers = tf.data.Dataset.range(self.num_records)
        threads = max(2, num_cores())
        wanted = numbers.map(lambda number: tf.cast(predicate(self.at(number)), tf.bool), threads)
        chosen = np.fromiter(wanted.as_numpy_iterator(), bool, self.num_records)
        return self.select(np.flatnonzero(chosen))

    def select(self, numbers: npt.NDArray[np.int64]) -> "Collection":
        """Some of the records, in this order.

        Args:
            numbers: (m,), each from 0 to `num_records - 1`.
        """
        chosen = np.asarray(numbers, np.int64)
        with tf.device("CPU:0"):  # never a copy on a GPU
            held = tf.constant(chosen)
        where = self.place_of
        return replace(
            self,
            num_records=len(chosen),
            read=lambda own: self.read(tf.gather(held, own)),
            checksum=zlib.crc32(chosen.tobytes(), self.checksum),
            place_of=None if where is None else lambda number: where(int(chosen[number])),
        )
