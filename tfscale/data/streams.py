"""Splits that are read in their own order: a list of files, or a stream.

Each worker reads its own files where there are enough of them, else every n-th record. The order
of training is mixed in a buffer, so that it depends on the number of workers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from tfscale.data.batching import as_record, parallelism
from tfscale.data.indexed import Indexed
from tfscale.data.sharding import Places, Sharding, shuffled
from tfscale.structures import Structure

_SHUFFLE_BUFFER = 10_000
_FILES_AT_ONCE = 4


@dataclass(frozen=True)
class Stream:
    """A `Source` that can only be read from its beginning.

    Args:
        name: file and split, for messages.
        records: as the user gave them.
        num_examples: how many, or None.
        is_infinite: whether it never ends.
    """

    name: str
    records: tf.data.Dataset
    num_examples: int | None
    is_infinite: bool
    checksum: int | None = None

    def training_places(self, sharding: Sharding, seed: int) -> Places:
        """Every n-th record, shuffled within a buffer; from the beginning when all were seen."""
        own = self.records.shard(sharding.num_workers, sharding.worker)
        return _numbered(_mixed(own, sharding, seed).repeat(), sharding)

    def whole_batches(self, sharding: Sharding, seed: int) -> None:
        """Records come one by one."""

    def evaluation_places(self, sharding: Sharding) -> Places:
        """Every n-th record, once."""
        own = self.records.shard(sharding.num_workers, sharding.worker)
        return _numbered(own, sharding)

    def evaluation_steps(self, sharding: Sharding) -> None:
        """The end shows when it comes."""

    def describe(self, sharding: Sharding) -> str:
        """What each worker reads."""
        return "a stream; each worker takes every n-th record, shuffled within a buffer"


@dataclass(frozen=True)
class Files:
    """A `Source` of files, each of which is read from its beginning.

    Args:
        names: what `load` gave: one record for each file.
        read: the user's; gives the records of a file.
    """

    names: Indexed
    read: Callable[[Structure], tf.data.Dataset]
    num_examples: int | None = None
    is_infinite: bool = False

    @property
    def name(self) -> str:
        """Of the split."""
        return self.names.name

    @property
    def records(self) -> tf.data.Dataset:
        """The records of all files, one file after the other."""
        return self.names.records.flat_map(self._records_of)

    @property
    def checksum(self) -> int | None:
        """Of the list of files."""
        return self.names.checksum

    def training_places(self, sharding: Sharding, seed: int) -> Places:
        """Own files in a new order for each pass, their records shuffled within a buffer."""
        numbers = tf.data.Dataset.counter().shard(*self._share(sharding))

        def file_at(number: tf.Tensor) -> Structure:
            count = self.names.num_examples
            index, _ = shuffled(number[tf.newaxis], num_examples=count, global_batch=1, seed=seed)
            return self.names.at(index[0])

        own = self._interleaved(numbers.map(file_at), sharding)
        return _numbered(_mixed(own, sharding, seed), sharding)

    def whole_batches(self, sharding: Sharding, seed: int) -> None:
        """Records come one by one."""

    def evaluation_places(self, sharding: Sharding) -> Places:
        """The records of own files, once."""
        numbers = tf.data.Dataset.range(self.names.num_examples).shard(*self._share(sharding))
        return _numbered(self._interleaved(numbers.map(self.names.at), sharding), sharding)

    def evaluation_steps(self, sharding: Sharding) -> None:
        """The end shows when it comes."""

    def describe(self, sharding: Sharding) -> str:
        """What each worker reads."""
        if self._are_enough(sharding):
            count = self.names.num_examples
            return f"{count} files; each worker reads its own, shuffled within a buffer"
        return "a stream; each worker takes every n-th record, shuffled within a buffer"

    def _are_enough(self, sharding: Sharding) -> bool:
        """Whether each worker has at least one file of its own."""
        return self.names.num_examples >= sharding.num_workers

    def _share(self, sharding: Sharding) -> tuple[int, int]:
        return (sharding.num_workers, sharding.worker) if self._are_enough(sharding) else (1, 0)

    def _interleaved(self, names: tf.data.Dataset, sharding: Sharding) -> tf.data.Dataset:
        at_once = max(1, min(_FILES_AT_ONCE, self.names.num_examples // sharding.num_workers))
        records = names.interleave(
            self._records_of,
            cycle_length=at_once,
            num_parallel_calls=min(at_once, parallelism()),
            deterministic=True,
        )
        if self._are_enough(sharding):
            return records
        return records.shard(sharding.num_workers, sharding.worker)

    def _records_of(self, *parts: Structure) -> tf.data.Dataset:
        return self.read(as_record(self.names.records, parts))


def _mixed(own: tf.data.Dataset, sharding: Sharding, seed: int) -> tf.data.Dataset:
    return own.shuffle(_SHUFFLE_BUFFER, seed=seed + sharding.worker)


def _numbered(own: tf.data.Dataset, sharding: Sharding) -> Places:
    """A stream has no index: a number of its own for each record is what augmentation needs."""

    def fetch(number: tf.Tensor, record: Structure) -> tuple[Structure, tf.Tensor, tf.Tensor]:
        index = number * sharding.num_workers + sharding.worker
        return record, index, tf.constant(0, tf.int64)

    return Places(own.enumerate(), fetch)
