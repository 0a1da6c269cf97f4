"""What kind of split a user gave: decided here, once, and asked nowhere else.

Records that can be reached by an index have one global order and an exact position in it
(`indexed`): those of a format (`collection`), those that a dataset of slices is made of
(`dataset_graph`), and those that fit into memory (`in_memory`). The others are read in their own
order (`streams`). A format is one more way to make a `Collection`.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import tensorflow as tf

from tfscale.data.batching import without_autotune
from tfscale.data.collection import Collection
from tfscale.data.sharding import Check, Places, Sharding
from tfscale.data.sources.dataset_file import DatasetFile, load_split
from tfscale.data.sources.dataset_graph import collection_of, last_maps
from tfscale.data.sources.determinism import is_opaque, require_no_draws
from tfscale.data.sources.in_memory import checksum_of, hold, size_bytes, unreadable
from tfscale.data.sources.indexed import Indexed
from tfscale.data.sources.once_per_file_system import fill_caches
from tfscale.data.sources.stream_order import OrderWatch, in_fixed_order
from tfscale.data.sources.streams import Files, Stream
from tfscale.errors import ConfigError
from tfscale.process.terminal import silence
from tfscale.structures import Structure

MEMORY_BUDGET_BYTES = 2**30  # of each split on each worker; what needs more is a stream
_FIRST = 8  # records that stand for those of a stream


class Source(Protocol):
    """One split.

    Attributes:
        name: file and split, for messages.
        records: every record once, in the order of the split, as one process would read it.
        num_examples: how many, or None where only reading tells.
        is_infinite: whether it never ends.
        checksum: of the records in their order, the same on workers that have the same; of the
            first ones where that would mean to read all of them.
        has_index: whether its records are reached by an index, which is their `Places`' first part
            where they are read singly.
        classes: the names of the classes, where they are known.
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
    @property
    def has_index(self) -> bool: ...  # noqa: D102
    @property
    def classes(self) -> tuple[str, ...]: ...  # noqa: D102

    def training_places(self, sharding: Sharding, seed: int, first_step: int = 0) -> Places:
        """This worker's records of training, over and over, replica batch by replica batch.

        They begin with those of step `first_step`, counted from the start of the run.
        """

    def whole_batches(
        self, sharding: Sharding, seed: int, first_step: int, check: Check | None
    ) -> tf.data.Dataset | None:
        """The same as replica batches, if records can be taken many at a time; else None.

        What may be wrong with them is checked many at a time as well.
        """

    def training_steps(self, sharding: Sharding) -> int | None:
        """Global batches of a pass; None where only reading tells."""

    def evaluation_places(self, sharding: Sharding) -> Places:
        """This worker's records of an evaluation; an index of -1 marks one that only fills up."""

    def evaluation_steps(self, sharding: Sharding) -> int | None:
        """Steps in which every record was there once, filled up and started again by itself.

        None where the end only shows when it comes; then nothing is filled up.
        """

    def watch_of(self, sharding: Sharding) -> OrderWatch | None:
        """What adds up all that each of several workers reads; None where that is known before."""

    def singly(self) -> "Source":
        """The same, of which one record that can't be read takes no others with it."""

    def place_of(self, index: int) -> str:
        """Where the record of an index lies, for messages."""

    def describe(self, sharding: Sharding) -> str:
        """What each worker reads, for the plan."""


def source_of(
    dataset: DatasetFile, split: str, say: Callable[[str], None] = silence
) -> Source | None:
    """Loads a split of the user's file and says what it is.

    Args:
        dataset: the user's file.
        split: of its `splits`.
        say: gets a line every ten seconds of waiting for another process that fills a cache.

    Returns:
        The split, or None where there is none of that name (never for "train").

    Raises:
        ConfigError: `load` or one of its records failed, or there is none, or `load` doesn't list
            the files that `read` is to read, or gives them in another order each time.
    """
    records = load_split(dataset, split)
    if records is None:
        return None
    name = f"{dataset.name}: load({split!r})"
    if isinstance(records, Collection):
        found = Indexed(name, records, dataset.shuffle)
        return found if dataset.read is None else _files(found, dataset.read)
    fill_caches(records, say)
    is_training = split == "train"  # which is endless anyway
    return classified(name, records, dataset.read, is_mixed=dataset.shuffle, once=is_training)


def classified(
    name: str,
    records: tf.data.Dataset,
    read: Callable[[Structure], tf.data.Dataset] | None,
    *,
    is_mixed: bool = True,
    once: bool = False,
) -> Source:
    """What a dataset of records is.

    Args:
        name: for messages.
        records: as the user gave them.
        read: the user's `read`, which gives the records of a file; None where there is none.
        is_mixed: whether training has an order of its own.
        once: whether records that are repeated for ever are wanted once.

    Raises:
        ConfigError: a record failed, or files aren't listed.
    """
    count = int(records.cardinality())
    require_no_draws(name, records)
    kept = collection_of(records, once=once)
    if kept is None and count >= 0:
        kept = hold(name, in_fixed_order(name, records), budget_bytes=MEMORY_BUDGET_BYTES)
    if read is not None:
        if kept is None or not kept.num_records:
            raise ConfigError(
                f"{name} must list its files for read(); expected a dataset of known, small "
                "size. Give it for example with tf.data.Dataset.from_tensor_slices(names)."
            )
        return _files(Indexed(name, kept, is_mixed), read)
    if kept is not None:
        return Indexed(name, kept, is_mixed)
    raw, functions = last_maps(records)
    watch = OrderWatch() if is_opaque(raw, deep=True) else None
    raw = in_fixed_order(name, raw)
    first = first_of(name, raw)
    return Stream(
        name,
        raw,
        functions,
        count if count >= 0 else None,
        count == tf.data.INFINITE_CARDINALITY,
        record_bytes=first.record_bytes,
        checksum=first.checksum,
        is_mixed=is_mixed,
        watch=watch,
    )


def require_readable(source: Source, count: int) -> None:
    """Refuses first records that can't be read, whatever is made of them.

    Args:
        source: the split.
        count: how many are read.

    Raises:
        ConfigError: reading one failed.
    """
    try:
        for _ in without_autotune(source.records.take(count)):
            pass
    except Exception as error:
        raise unreadable(source.name, error) from error


@dataclass(frozen=True)
class First:
    """What the first records of a stream tell.

    Args:
        record_bytes: the mean of them in memory.
        checksum: of them.
    """

    record_bytes: int
    checksum: int | None


def _files(names: Indexed, read: Callable[[Structure], tf.data.Dataset]) -> Files:
    listed = names.records
    files = Files(names, listed.element_spec, read, is_mixed=names.is_mixed)
    as_given = files.as_given
    require_no_draws(names.name, as_given)
    first = first_of(names.name, in_fixed_order(names.name, as_given))
    return replace(
        files,
        sizes=_sizes(listed),
        record_bytes=first.record_bytes,
        first_checksum=first.checksum,
        watch=OrderWatch() if is_opaque(as_given, deep=True) else None,
    )


@tf.autograph.experimental.do_not_convert
def _sizes(names: tf.data.Dataset) -> tuple[int, ...]:
    """Bytes of each file, if its record is its path."""
    spec = names.element_spec
    if not isinstance(spec, tf.TensorSpec) or spec.dtype != tf.string or spec.shape.rank:
        return ()
    try:
        return tuple(os.path.getsize(name.decode()) for name in names.as_numpy_iterator())
    except (OSError, UnicodeDecodeError):
        return ()


@tf.autograph.experimental.do_not_convert  # the user's functions come converted
def first_of(name: str, records: tf.data.Dataset) -> First:
    """Reads the first records twice: they must be the same ones, or nobody could go on with them.

    Args:
        name: for messages.
        records: of a stream, or of files one after the other.

    Raises:
        ConfigError: reading failed, or the order is another one each time.
    """
    first = without_autotune(records.take(_FIRST))
    if not all(isinstance(spec, tf.TensorSpec) for spec in tf.nest.flatten(first.element_spec)):
        return First(1, None)
    try:
        once, again = ([tf.nest.flatten(record) for record in first] for _ in range(2))
    except Exception as error:
        raise unreadable(name, error) from error
    checksums = [checksum_of(leaf for record in read for leaf in record) for read in (once, again)]
    if checksums[0] != checksums[1]:
        raise ConfigError(
            f"{name} gives its records in another order, or others, each time it is read; expected "
            "the same ones, so that workers agree and a run can go on where it was. Remove "
            ".shuffle(...): training is mixed by itself; or shuffle with a seed and "
            "reshuffle_each_iteration=False. Let a generator begin with a seed of its own each "
            "time, such as random.Random(0)."
        )
    total = sum(size_bytes(leaf) for record in once for leaf in record)
    return First(total // max(1, len(once)), checksums[0])
