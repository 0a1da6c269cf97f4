"""Records that can be read in any order: what a format gives, and `load` may return.

A collection is described, not opened: making one reads an index or a list, and no record.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf

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
