"""What kind of split a user gave: decided here, once, and asked nowhere else.

A split is held in memory, reached by an index, a list of files, or a stream. The first two have one
global order of their examples and an exact position in it (`indexed`); `records` makes such a split
of what fits into memory. The others are read in their own order (`streams`). A format is one more
way to make a `Source`.
"""

from collections.abc import Callable
from typing import Protocol

import tensorflow as tf

from tfscale.data.dataset_file import DatasetFile, load_split
from tfscale.data.records import hold
from tfscale.data.sharding import Places, Sharding
from tfscale.data.streams import Files, Stream
from tfscale.errors import ConfigError
from tfscale.structures import Structure

MEMORY_BUDGET_BYTES = 2**30  # of each split on each worker; what needs more is a stream


class Source(Protocol):
    """One split.

    Attributes:
        name: file and split, for messages.
        records: every record once, in the order of the split, as one process would read it.
        num_examples: how many, or None where only reading tells.
        is_infinite: whether it never ends.
        checksum: of the records in their order, the same on workers that have the same; None
            where that would mean to read all of them.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - an attribute, described above
    @property
    def records(self) -> tf.data.Dataset: ...  # noqa: D102
    @property
    def num_examples(self) -> int | None: ...  # noqa: D102
    @property
    def is_infinite(self) -> bool: ...  # noqa: D102
    @property
    def checksum(self) -> int | None: ...  # noqa: D102

    def training_places(self, sharding: Sharding, seed: int) -> Places:
        """This worker's records of training, over and over, replica batch by replica batch."""

    def whole_batches(self, sharding: Sharding, seed: int) -> tf.data.Dataset | None:
        """The same as replica batches, if records can be taken many at a time; else None."""

    def evaluation_places(self, sharding: Sharding) -> Places:
        """This worker's records of an evaluation; an index of -1 marks one that only fills up."""

    def evaluation_steps(self, sharding: Sharding) -> int | None:
        """Steps in which every record was there once, filled up and started again by itself.

        None where the end only shows when it comes; then nothing is filled up.
        """

    def describe(self, sharding: Sharding) -> str:
        """What each worker reads, for the plan."""


def source_of(dataset: DatasetFile, split: str) -> Source | None:
    """Loads a split of the user's file and says what it is.

    Returns:
        The split, or None where there is none of that name (never for "train").

    Raises:
        ConfigError: `load` or one of its records failed, or there is none, or `load` doesn't list
            the files that `read` is to read.
    """
    records = load_split(dataset, split)
    if records is None:
        return None
    return classified(f"{dataset.name}: load({split!r})", records, dataset.read)


def classified(
    name: str, records: tf.data.Dataset, read: Callable[[Structure], tf.data.Dataset] | None
) -> Source:
    """What a dataset of records is.

    Args:
        name: for messages.
        records: as the user gave them.
        read: the user's `read`, which gives the records of a file; None where there is none.

    Raises:
        ConfigError: a record failed, or files aren't listed.
    """
    count = int(records.cardinality())
    kept = hold(name, records, budget_bytes=MEMORY_BUDGET_BYTES) if count >= 0 else None
    if read is not None:
        if kept is None or not kept.num_examples:
            raise ConfigError(
                f"{name} must list its files for read(); expected a dataset of known, small "
                "size. Give it for example with tf.data.Dataset.from_tensor_slices(names)."
            )
        return Files(kept, read)
    if kept is not None:
        return kept
    is_infinite = count == tf.data.INFINITE_CARDINALITY
    return Stream(name, records, count if count >= 0 else None, is_infinite)
