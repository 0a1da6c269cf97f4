"""Records of like length go into one batch, so that little of it is padding.

Every global batch has records of one bucket. Which ones is a function of seed and epoch alone, so
that the batches are the same on any number of workers: they follow the one order of the epoch, and
a batch is complete when its bucket has had enough records.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfscale.data.batching import as_record, parallelism
from tfscale.data.sources.dataset_file import DatasetFile
from tfscale.data.sources.indexed import Indexed
from tfscale.data.sources.source import Source
from tfscale.errors import ConfigError, one_line
from tfscale.structures import Structure


@dataclass(frozen=True)
class LengthBuckets:
    """In which bucket each record of a split is.

    Args:
        boundaries: the largest length of each bucket, rising.
        numbers: int32 (n,): the bucket of each record.
    """

    boundaries: tuple[int, ...]
    numbers: NDArray[np.int32]

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many records each bucket has."""
        return np.bincount(self.numbers, minlength=len(self.boundaries)).astype(np.int64)

    def steps(self, global_batch: int) -> int:
        """Global batches that a pass gives."""
        return int((self.counts // global_batch).sum())

    def size_at(self, index: tf.Tensor) -> tf.Tensor:
        """The largest length of a record's bucket, int32 like its index (int64)."""
        of_bucket = tf.constant(self.boundaries, tf.int32)
        return tf.gather(of_bucket, tf.gather(tf.constant(self.numbers), index))

    def arrange(self, order: tf.Tensor, global_batch: int) -> tf.Tensor:
        """The records of a pass, batch by batch, each of one bucket.

        Args:
            order: int64 (n,): of the pass.
            global_batch: examples of a batch.

        Returns:
            int64 (steps x global_batch,): what doesn't fill a batch is left out.
        """
        made = tf.numpy_function(
            lambda given: self._arranged(given, global_batch), [order], tf.int64
        )
        return tf.ensure_shape(made, [self.steps(global_batch) * global_batch])

    def _arranged(self, order: NDArray[np.int64], global_batch: int) -> NDArray[Any]:
        batches, completed = [], []
        buckets = self.numbers[order]
        for bucket in range(len(self.boundaries)):
            (places,) = np.nonzero(buckets == bucket)
            whole = len(places) // global_batch * global_batch
            batches.append(order[places[:whole]].reshape(-1, global_batch))
            completed.append(places[:whole].reshape(-1, global_batch)[:, -1])
        in_turn = np.argsort(np.concatenate(completed), kind="stable")
        return np.concatenate(batches)[in_turn].reshape(-1).astype(np.int64)

    def describe(self) -> str:
        """How many records are in which bucket, for the plan."""
        found = [
            f"{count:,} to {end}" for count, end in zip(self.counts, self.boundaries, strict=True)
        ]
        return f"in buckets by length ({', '.join(found)})"


def bucketed(dataset: DatasetFile, source: Source) -> Source:
    """A train split whose batches have records of like length.

    Raises:
        ConfigError: the records can't be reached by an index, or their lengths can't be had.
    """
    if not isinstance(source, Indexed):
        raise ConfigError(
            f"{source.name} is read from its beginning, and bucket_boundaries need the length of "
            "every record before; expected records that are reached by an index. Use padded_shapes,"
            " or write shards with launch/prepare.py."
        )
    if dataset.max_bad_examples:
        raise ConfigError(
            f"{dataset.name} has bucket_boundaries, and --max_bad_examples is given; expected one "
            "of them, because the record that stands in for a bad one may be of another length. "
            "Leave --max_bad_examples out."
        )
    return replace(source, groups=buckets_of(dataset, source))


def buckets_of(dataset: DatasetFile, source: Indexed) -> LengthBuckets:
    """Asks for the length of every record, once.

    Args:
        dataset: the user's, with `bucket_boundaries` and `element_length`.
        source: a split of it.

    Raises:
        ConfigError: a length can't be had, or is above the last boundary.
    """
    length_of = dataset.element_length
    if length_of is None:
        raise ConfigError(
            f"{dataset.name} has bucket_boundaries, but no element_length; expected a function of "
            "a record that gives its length, for example\n"
            "def element_length(record): return tf.size(record['words'])"
        )

    records = source.records
    spec = records.element_spec

    def length(*parts: Structure) -> tf.Tensor:
        return tf.cast(tf.reshape(length_of(as_record(spec, parts)), []), tf.int64)

    try:
        found = records.map(length, parallelism(), deterministic=True).batch(4096)
        lengths = np.concatenate([one.numpy() for one in found])
    except Exception as error:
        raise ConfigError(f"{dataset.name}: element_length raised {one_line(error)}") from error
    boundaries = np.asarray(dataset.bucket_boundaries)
    if lengths.max() > boundaries[-1]:
        place = source.place_of(int(lengths.argmax()))
        raise ConfigError(
            f"{source.name}: {place} has the length {lengths.max()}; expected at most the last of "
            f"bucket_boundaries = {dataset.bucket_boundaries}. Raise it, or leave such records out."
        )
    numbers = np.searchsorted(boundaries, lengths).astype(np.int32)
    return LengthBuckets(dataset.bucket_boundaries, numbers)
