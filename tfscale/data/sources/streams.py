"""Splits that are read in their own order: a stream, or a list of files.

A stream has no index, so that every worker has to read all of it. All mix it in a buffer by the
same seed, and each prepares its own part of every step: the order doesn't depend on how many
workers there are. Of files, each worker reads its own where they are enough and of like sizes; then
the order does.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import tensorflow as tf

from tfscale.data.batching import as_record, parallelism
from tfscale.data.sharding import Check, Places, Sharding, shuffled
from tfscale.data.sources.indexed import Indexed
from tfscale.data.sources.stream_order import OrderWatch, StepsRead, everything_read, in_fixed_order
from tfscale.structures import Spec, Structure

_SHUFFLE_BUFFER = 10_000  # records
_BUFFER_BYTES = 2**27
_FILES_AT_ONCE = 4
_LIKE_SIZES = 1.5  # the largest file against their mean


@dataclass(frozen=True)
class Stream:
    """A `Source` that can only be read from its beginning.

    Args:
        name: file and split, for messages.
        raw: what is read by every worker.
        functions: what is then done to each record of its own.
        num_examples: how many, or None.
        is_infinite: whether it never ends.
        record_bytes: of one in memory, of the first ones.
        checksum: of the first records.
        is_mixed: whether training has an order of its own.
        watch: over what is read, where Python makes it; None elsewhere.
    """

    name: str
    raw: tf.data.Dataset
    functions: tuple[Callable[[Any], Any], ...] = ()
    num_examples: int | None = None
    is_infinite: bool = False
    record_bytes: int = 1
    checksum: int | None = None
    is_mixed: bool = True
    watch: OrderWatch | None = None
    has_index: bool = field(default=False, init=False)
    classes: tuple[str, ...] = field(default=(), init=False)

    @property
    def records(self) -> tf.data.Dataset:
        """Every record once."""
        if not self.functions:
            return self.raw
        spec = self.raw.element_spec
        return self.raw.map(lambda *parts: self._finished(as_record(spec, parts)))

    def training_places(self, sharding: Sharding, seed: int, first_step: int = 0) -> Places:
        """This worker's part of each step, from a step on; what came before is read, not made."""
        mixed = self.raw
        if self.is_mixed:
            mixed = mixed.shuffle(_buffer_of(self.record_bytes), seed=seed)
        if self.num_examples is not None:  # a pass of whole steps; others are left over each time
            steps = self.num_examples // sharding.global_batch
            mixed = mixed.take(steps * sharding.global_batch)
        first = first_step * sharding.global_batch
        endless = mixed.repeat().skip(first)
        if watch := self.watch_of(sharding):
            steps_read = StepsRead(sharding.global_batch, sharding.num_workers)
            endless = watch.watched(endless, steps_read, first)
        own = endless.shard(sharding.num_workers, sharding.worker)
        return self._numbered(own, sharding, first_step * sharding.worker_batch)

    def whole_batches(
        self, sharding: Sharding, seed: int, first_step: int, check: Check | None
    ) -> None:
        """Records come one by one."""

    def training_steps(self, sharding: Sharding) -> int | None:
        """Global batches of a pass, if it is known how many records there are."""
        size = self.num_examples
        return None if size is None else size // sharding.global_batch

    def evaluation_places(self, sharding: Sharding) -> Places:
        """Every n-th record, once."""
        raw, watch = self.raw, self.watch_of(sharding)
        if watch is not None:
            raw = watch.watched(raw, everything_read)
        return self._numbered(raw.shard(sharding.num_workers, sharding.worker), sharding, 0)

    def evaluation_steps(self, sharding: Sharding) -> None:
        """The end shows when it comes."""

    def watch_of(self, sharding: Sharding) -> OrderWatch | None:
        """What is to be the same on all workers, if there are several."""
        return self.watch if sharding.num_workers > 1 else None

    def singly(self) -> "Stream":
        """Itself: its records come one by one."""
        return self

    def place_of(self, index: int) -> str:
        """Where a record lies, for messages."""
        return f"record {index:,}"

    def describe(self, sharding: Sharding) -> str:
        """What each worker reads."""
        part = f", each prepares one in {sharding.num_workers}" if sharding.num_workers > 1 else ""
        return f"a stream that every worker reads as a whole{part}; {_mixing(self)}"

    def _finished(self, record: Structure) -> Structure:
        for function in self.functions:
            record = function(record)
        return record

    def _numbered(self, own: tf.data.Dataset, sharding: Sharding, first: int) -> Places:
        places = numbered(own, sharding, first)

        def fetch(number: tf.Tensor, record: Structure) -> tuple[Structure, tf.Tensor, tf.Tensor]:
            raw, index, epoch = places.fetch(number, record)
            return self._finished(raw), index, epoch

        return replace(places, fetch=fetch)


@dataclass(frozen=True)
class Files:
    """A `Source` of files, each of which is read from its beginning.

    Args:
        names: what `load` gave: one record for each file.
        spec: of such a record.
        read: the user's; gives the records of a file.
        sizes: bytes of each file, none where they aren't known.
        record_bytes: of a record in memory, of the first ones.
        first_checksum: of the first records.
        is_mixed: whether training has an order of its own.
        watch: over what is read, where Python makes it; None elsewhere.
    """

    names: Indexed
    spec: Spec
    read: Callable[[Structure], tf.data.Dataset]
    sizes: tuple[int, ...] = ()
    record_bytes: int = 1
    first_checksum: int | None = None
    is_mixed: bool = True
    watch: OrderWatch | None = None
    num_examples: int | None = field(default=None, init=False)
    is_infinite: bool = field(default=False, init=False)
    has_index: bool = field(default=False, init=False)
    classes: tuple[str, ...] = field(default=(), init=False)

    @property
    def name(self) -> str:
        """Of the split."""
        return self.names.name

    @property
    def records(self) -> tf.data.Dataset:
        """The records of all files, one file after the other."""
        return in_fixed_order(self.name, self.as_given)

    @property
    def as_given(self) -> tf.data.Dataset:
        """The same as the user's `read` makes them, which may leave their order to threads."""
        return self.names.records.flat_map(self._records_of)

    @property
    def checksum(self) -> int | None:
        """Of the list of files."""
        return self.names.checksum

    def training_places(self, sharding: Sharding, seed: int, first_step: int = 0) -> Places:
        """Own files in a new order for each pass, their records shuffled within a buffer."""
        if not self._are_dealt(sharding):
            return self._whole(seed).training_places(sharding, seed, first_step)
        numbers = tf.data.Dataset.counter().shard(sharding.num_workers, sharding.worker)
        own = self._interleaved(numbers.map(lambda number: self._file_at(number, seed)), sharding)
        if self.is_mixed:
            own = own.shuffle(_buffer_of(self.record_bytes), seed=seed + sharding.worker)
        first = first_step * sharding.worker_batch
        return numbered(own.skip(first), sharding, first)

    def whole_batches(
        self, sharding: Sharding, seed: int, first_step: int, check: Check | None
    ) -> None:
        """Records come one by one."""

    def training_steps(self, sharding: Sharding) -> int | None:
        """Global batches of a pass, if it is known how many records there are."""
        size = self.num_examples
        return None if size is None else size // sharding.global_batch

    def evaluation_places(self, sharding: Sharding) -> Places:
        """The records of own files, once."""
        if not self._are_dealt(sharding):
            return self._whole(0, is_mixed=False).evaluation_places(sharding)
        numbers = tf.data.Dataset.range(self.names.num_examples)
        own = numbers.shard(sharding.num_workers, sharding.worker).map(self.names.collection.at)
        return numbered(self._interleaved(own, sharding), sharding, 0)

    def evaluation_steps(self, sharding: Sharding) -> None:
        """The end shows when it comes."""

    def watch_of(self, sharding: Sharding) -> OrderWatch | None:
        """What is to be the same on all workers, if each of them reads all files."""
        is_dealt = sharding.num_workers == 1 or self._are_dealt(sharding)
        return None if is_dealt else self.watch

    def singly(self) -> "Files":
        """Itself: its records come one by one."""
        return self

    def place_of(self, index: int) -> str:
        """Where a record lies, for messages."""
        return f"record {index:,}"

    def describe(self, sharding: Sharding) -> str:
        """What each worker reads."""
        if not self._are_dealt(sharding):
            return self._whole(0).describe(sharding)
        count = self.names.num_examples
        each = f"{count / sharding.num_workers:.4g}"
        return f"{count} files; each worker reads {each} of its own, {_mixing(self)}"

    def _are_dealt(self, sharding: Sharding) -> bool:
        """Whether each worker reads files of its own: they are enough, and of like sizes."""
        count = self.names.num_examples
        mean = sum(self.sizes) / max(1, len(self.sizes))
        are_alike = max(self.sizes, default=0) <= _LIKE_SIZES * mean
        return count >= sharding.num_workers and (are_alike or sharding.num_workers == 1)

    def _whole(self, seed: int, *, is_mixed: bool = True) -> Stream:
        """The same as one stream: files in the order of a pass, one after the other."""
        raw, is_mixed = self.records, is_mixed and self.is_mixed
        if is_mixed:
            numbers = tf.data.Dataset.range(self.names.num_examples)
            names = numbers.map(lambda number: self._file_at(number, seed))
            raw = in_fixed_order(self.name, names.flat_map(self._records_of))
        return Stream(
            self.name,
            raw,
            record_bytes=self.record_bytes,
            checksum=self.first_checksum,
            is_mixed=is_mixed,
            watch=self.watch,
        )

    def _file_at(self, number: tf.Tensor, seed: int) -> Structure:
        """The file at a place of the endless order of files."""
        count = self.names.num_examples
        index = (number % count)[tf.newaxis]
        if self.is_mixed:
            index, _ = shuffled(number[tf.newaxis], num_examples=count, global_batch=1, seed=seed)
        return self.names.collection.at(index[0])

    def _interleaved(self, names: tf.data.Dataset, sharding: Sharding) -> tf.data.Dataset:
        at_once = max(1, min(_FILES_AT_ONCE, self.names.num_examples // sharding.num_workers))
        mixed = names.interleave(
            self._records_of,
            cycle_length=at_once,
            num_parallel_calls=min(at_once, parallelism()),
            deterministic=True,
        )
        return in_fixed_order(self.name, mixed)

    def _records_of(self, *parts: Structure) -> tf.data.Dataset:
        return self.read(as_record(self.spec, parts))


def numbered(own: tf.data.Dataset, sharding: Sharding, first: int) -> Places:
    """Places of a worker's records, the first of which is number `first` of its own.

    A stream has no index: a number of its own for each record is what augmentation needs.
    """

    def index_of(number: tf.Tensor) -> tf.Tensor:
        return number * sharding.num_workers + sharding.worker

    def fetch(number: tf.Tensor, record: Structure) -> tuple[Structure, tf.Tensor, tf.Tensor]:
        return record, index_of(number), tf.constant(0, tf.int64)

    return Places(own.enumerate(first), fetch, index_of)


def _buffer_of(record_bytes: int) -> int:
    """Records of the shuffle buffer, so many that they need a bounded memory."""
    return max(1, min(_SHUFFLE_BUFFER, _BUFFER_BYTES // max(1, record_bytes)))


def _mixing(source: Stream | Files) -> str:
    if not source.is_mixed:
        return "in its own order"
    buffer = _buffer_of(source.record_bytes)
    mebibytes = buffer * source.record_bytes / 2**20
    return f"shuffled within a buffer of {buffer:,} records ({mebibytes:.3g} MiB)"
