"""A split whose records are reached by an index: one global order, whatever the workers are."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import tensorflow as tf

from tfscale.data.batching import as_record, parallelism
from tfscale.data.collection import Collection
from tfscale.data.sharding import Check, Places, Sharding, pass_order
from tfscale.structures import Structure

_RECORDS_AT_ONCE = 256
_BYTES_AT_ONCE = 2**20


class Grouped(Protocol):
    """What puts the records of a pass into batches of their own: see `length_buckets`."""

    def steps(self, global_batch: int) -> int:
        """Global batches that a pass gives."""

    def size_at(self, index: tf.Tensor) -> tf.Tensor:
        """What the record of an index is padded to."""

    def arrange(self, order: tf.Tensor, global_batch: int) -> tf.Tensor:
        """The records of a pass, batch by batch."""

    def describe(self) -> str:
        """How they are grouped, for the plan."""


@dataclass(frozen=True)
class Indexed:
    """A `Source` with random access.

    Args:
        name: file and split, for messages.
        collection: the records.
        is_mixed: whether every epoch has an order of its own, or that of the split.
        is_singly: whether each record is read by itself, so that one that can't be read takes no
            others with it.
        groups: what puts records of like length into one batch, or None.
    """

    name: str
    collection: Collection
    is_mixed: bool = True
    is_singly: bool = False
    groups: Grouped | None = None
    is_infinite: bool = False
    has_index: bool = True

    @property
    def num_examples(self) -> int:
        """How many records."""
        return self.collection.num_records

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names, where they are known."""
        return self.collection.classes

    @property
    def checksum(self) -> int | None:
        """Of the records in their order."""
        return self.collection.checksum

    @property
    def records(self) -> tf.data.Dataset:
        """Every record once, in order."""
        return self.between(0, -1)

    def between(self, first: int, last: int) -> tf.data.Dataset:
        """The records from one number up to, but without, another, or up to the end for -1."""
        numbers = tf.data.Dataset.range(first, self.num_examples if last < 0 else last)
        raw = self._at_once(numbers).map(self.collection.read).unbatch()
        return raw.map(lambda *parts: self.collection.finished(self._raw(parts)))

    def training_places(self, sharding: Sharding, seed: int, first_step: int = 0) -> Places:
        """This worker's slices of the one global order, from a step of the run on."""
        slices = self._slices(sharding, seed, first_step, with_epoch=True)
        return self._places(slices.unbatch(), lambda index, epoch: index)

    def whole_batches(
        self, sharding: Sharding, seed: int, first_step: int, check: Check | None
    ) -> tf.data.Dataset | None:
        """Many small batches with each call of `read`, which costs the same however many it takes.

        Of larger ones each alone: what is read together is copied once more to be taken apart.
        """
        if self.collection.functions or not self.collection.is_held:
            return None
        batch = sharding.replica_batch
        steps = min(_RECORDS_AT_ONCE, _BYTES_AT_ONCE // self._record_bytes) // batch
        # Without the epoch, which nobody asks for here: to drop it later takes a call each batch.
        slices = self._slices(sharding, seed, first_step, with_epoch=False)

        def read(own: tf.Tensor) -> Structure:
            batches = self._read_batches(own)
            return batches if check is None else check(batches, own)

        if steps > 1:
            return slices.batch(steps).map(read).unbatch()
        alone = slices.batch(1).map(read, parallelism(), deterministic=True)
        return alone.map(
            lambda *parts: self._raw(tf.nest.map_structure(lambda leaf: leaf[0], parts))
        )

    def training_steps(self, sharding: Sharding) -> int:
        """Global batches of a pass."""
        if self.groups is not None:
            return self.groups.steps(sharding.global_batch)
        return self.num_examples // sharding.global_batch

    def evaluation_places(self, sharding: Sharding) -> Places:
        """This worker's part of every step; the last one is filled up."""
        steps = self.evaluation_steps(sharding) or 0
        numbers = tf.data.Dataset.range(steps * sharding.local_replicas).repeat()
        # The last record stands in for what isn't there: any record that works would do.
        last = tf.constant(self.num_examples - 1, tf.int64)

        def marked(position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            index = tf.where(position <= last, position, tf.constant(-1, tf.int64))
            return index, tf.constant(0, tf.int64)

        positions = numbers.map(sharding.positions).unbatch().map(marked)
        return self._places(positions, lambda index, _: tf.where(index < 0, last, index))

    def evaluation_steps(self, sharding: Sharding) -> int | None:
        """As many as hold all records; None for no records, whose end comes at once."""
        return -(-self.num_examples // sharding.global_batch) or None

    def watch_of(self, sharding: Sharding) -> None:
        """What is read is known before."""

    def singly(self) -> "Indexed":
        """The same, whose records are read one by one."""
        return replace(self, is_singly=True)

    def place_of(self, index: int) -> str:
        """Where a record lies, for messages."""
        known = self.collection.place_of
        return known(index) if known else f"record {index:,}"

    def describe(self, sharding: Sharding) -> str:
        """What each worker reads."""
        size, files = self.num_examples, len(self.collection.files)
        own = self.training_steps(sharding) * sharding.worker_batch
        among = f" of {files:,} file{'s' * (files > 1)}" if files else ""
        order = "an order of seed and epoch alone" if self.is_mixed else "their own order"
        if self.groups is not None:
            order += f", {self.groups.describe()}"
        return (
            f"{size:,} records{among}, in {order}; each worker reads {own:,} of them in an epoch, "
            f"{sharding.worker_batch} of the {sharding.global_batch} of each step"
            f"{self.collection.note and '; '}{self.collection.note}"
        )

    def _slices(
        self, sharding: Sharding, seed: int, first_step: int, *, with_epoch: bool
    ) -> tf.data.Dataset:
        """`index` or `(index, epoch)` of this worker's replica batches, int64 (replica_batch,)."""
        first_epoch, step = divmod(first_step, self.training_steps(sharding))
        skipped = step * sharding.local_replicas

        def of_pass(epoch: tf.Tensor) -> tf.data.Dataset:
            own = sharding.own_batches(self._order(epoch, seed, sharding.global_batch))
            own = own[tf.where(tf.equal(epoch, first_epoch), skipped, 0) :]
            rows = (own, tf.fill(tf.shape(own), epoch)) if with_epoch else own
            return tf.data.Dataset.from_tensor_slices(rows)

        return tf.data.Dataset.counter(first_epoch).flat_map(of_pass)

    def _order(self, epoch: tf.Tensor, seed: int, global_batch: int) -> tf.Tensor:
        order = tf.range(self.num_examples, dtype=tf.int64)
        if self.is_mixed:
            order = pass_order(epoch, num_examples=self.num_examples, seed=seed)
        return order if self.groups is None else self.groups.arrange(order, global_batch)

    def _places(
        self, elements: tf.data.Dataset, number_of: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    ) -> Places:
        """Places of the `(index, epoch)` of elements.

        What is held is looked up when an example is made of it; what lies in files is read ahead,
        many records with each call.
        """
        if self.collection.is_held or self.is_singly:
            return Places(
                elements,
                lambda index, epoch: (self.collection.at(number_of(index, epoch)), index, epoch),
            )

        def fetch(
            raw: Structure, index: tf.Tensor, epoch: tf.Tensor
        ) -> tuple[Structure, tf.Tensor, tf.Tensor]:
            return self.collection.finished(raw), index, epoch

        def read(index: tf.Tensor, epoch: tf.Tensor) -> tuple[Structure, tf.Tensor, tf.Tensor]:
            return self.collection.read(number_of(index, epoch)), index, epoch

        return Places(self._at_once(elements).map(read, parallelism()).unbatch(), fetch)

    def _at_once(self, elements: tf.data.Dataset) -> tf.data.Dataset:
        if self.is_singly:
            return elements.batch(1)
        total = sum(file.num_bytes for file in self.collection.files)
        each = max(1, total // max(1, self.num_examples))
        return elements.batch(min(max(_BYTES_AT_ONCE // each, 1), _RECORDS_AT_ONCE))

    @property
    def _record_bytes(self) -> int:
        """Of a record in memory; of a text that of what stands for it."""
        leaves = tf.nest.flatten(self.collection.spec)
        return int(
            max(1, sum((leaf.shape.num_elements() or 1) * leaf.dtype.size for leaf in leaves))
        )

    def _read_batches(self, own: tf.Tensor) -> Structure:
        """Records of (batches, replica_batch) numbers, in that shape."""
        stacked = self.collection.read(tf.reshape(own, [-1]))
        leading = tf.shape(own)
        return tf.nest.map_structure(
            lambda leaf, spec: tf.ensure_shape(
                tf.reshape(leaf, tf.concat([leading, tf.shape(leaf)[1:]], 0)),
                [None, own.shape[1], *spec.shape],
            ),
            stacked,
            self.collection.spec,
        )

    def _raw(self, parts: tuple[Structure, ...]) -> Structure:
        return as_record(self.collection.spec, parts)
