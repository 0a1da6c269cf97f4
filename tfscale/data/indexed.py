"""A split whose records are reached by an index: one global order, whatever the workers are."""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from tfscale.data.sharding import Places, Sharding, pass_order
from tfscale.structures import Structure

_RECORDS_AT_ONCE = 256


@dataclass(frozen=True)
class Indexed:
    """A `Source` with random access.

    Args:
        name: file and split, for messages.
        records: every record once, in order.
        num_examples: how many records.
        at: gives the record at an int64 scalar index.
        takes_many: whether `at` also takes a vector, and gives that many records stacked.
        checksum: of all records in their order, or None.
    """

    name: str
    records: tf.data.Dataset
    num_examples: int
    at: Callable[[tf.Tensor], Structure]
    takes_many: bool
    checksum: int | None = None
    is_infinite: bool = False

    def training_places(self, sharding: Sharding, seed: int) -> Places:
        """This worker's slices of the one global order."""

        def of_pass(epoch: tf.Tensor) -> tf.data.Dataset:
            own = self._own_order(epoch, sharding, seed)
            return tf.data.Dataset.from_tensor_slices((own, tf.fill(tf.shape(own), epoch)))

        return Places(
            tf.data.Dataset.counter().flat_map(of_pass).unbatch(),
            lambda index, epoch: (self.at(index), index, epoch),
        )

    def whole_batches(self, sharding: Sharding, seed: int) -> tf.data.Dataset | None:
        """Many batches with each call of `at`: a call costs the same however many it takes."""
        if not self.takes_many:
            return None

        def of_pass(epoch: tf.Tensor) -> tf.data.Dataset:
            return tf.data.Dataset.from_tensor_slices(self._own_order(epoch, sharding, seed))

        slices = tf.data.Dataset.counter().flat_map(of_pass)
        steps = max(1, _RECORDS_AT_ONCE // sharding.replica_batch)
        return slices.batch(steps).map(self.at).unbatch()

    def _own_order(self, epoch: tf.Tensor, sharding: Sharding, seed: int) -> tf.Tensor:
        return sharding.own_batches(pass_order(epoch, num_examples=self.num_examples, seed=seed))

    def evaluation_places(self, sharding: Sharding) -> Places:
        """This worker's part of every step; the last one is filled up."""
        steps = self.evaluation_steps(sharding) or 0
        numbers = tf.data.Dataset.range(steps * sharding.local_replicas).repeat()

        def fetch(position: tf.Tensor) -> tuple[Structure, tf.Tensor, tf.Tensor]:
            # The last record stands in for what isn't there: any record that works would do.
            last = tf.constant(self.num_examples - 1, tf.int64)
            index = tf.where(position <= last, position, tf.constant(-1, tf.int64))
            return self.at(tf.minimum(position, last)), index, tf.constant(0, tf.int64)

        return Places(numbers.map(sharding.positions).unbatch(), fetch)

    def evaluation_steps(self, sharding: Sharding) -> int | None:
        """As many as hold all records; None for no records, whose end comes at once."""
        return -(-self.num_examples // sharding.global_batch) or None

    def describe(self, sharding: Sharding) -> str:
        """What each worker reads."""
        return (
            f"{self.num_examples} records, in an order of seed and epoch alone; each worker "
            f"takes {sharding.worker_batch} of the {sharding.global_batch} of each step"
        )
