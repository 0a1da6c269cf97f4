"""The records of a split, each reachable by its index.

Records are cheap by contract (file names, small arrays, bytes), so a worker holds all of them
once and takes the ones of its share by index, before any expensive work. Where they are too many
or can't be counted, they stay a stream, of which each worker reads its own part.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfscale.data.dataset_file import DatasetFile, load_split
from tfscale.errors import ConfigError, one_line

MEMORY_BUDGET_BYTES = 2**30
_READ_AHEAD = 1024


@dataclass(frozen=True)
class Records:
    """One split.

    Args:
        name: file and split, for messages.
        stream: the records as the user gave them.
        num_records: how many, or None where that isn't known.
        leaves: the flattened records stacked, each (num_records, ...), a leaf whose shape
            differs from record to record serialized; None for a stream.
        is_infinite: whether the stream never ends.
    """

    name: str
    stream: tf.data.Dataset
    num_records: int | None
    leaves: tuple[tf.Tensor, ...] | None
    is_infinite: bool = False

    @property
    def is_enumerable(self) -> bool:
        """Whether each record can be had by its index."""
        return self.leaves is not None

    def at(self, index: tf.Tensor) -> Any:  # noqa: ANN401 - the user's structure
        """The record, or records, at an int64 index (scalar or vector) of an enumerable split."""
        if self.leaves is None:
            raise TypeError(f"{self.name} is a stream: its records have no index.")
        specs = tf.nest.flatten(self.stream.element_spec)
        gathered = []
        for leaf, spec in zip(self.leaves, specs, strict=True):
            value = tf.gather(leaf, index)
            if _is_serialized(spec):
                value = tf.ensure_shape(tf.io.parse_tensor(value, spec.dtype), spec.shape)
            gathered.append(value)
        return tf.nest.pack_sequence_as(self.stream.element_spec, gathered)

    def checksum(self) -> int | None:
        """CRC-32 of all records in their order, the same on workers that hold the same."""
        if self.leaves is None:
            return None
        total = 0
        for leaf in self.leaves:
            for text in _bytes_of(leaf):
                total = zlib.crc32(text, total)
        return total

    @property
    def has_fixed_shapes(self) -> bool:
        """Whether several records can be taken at once."""
        return not any(_is_serialized(spec) for spec in tf.nest.flatten(self.stream.element_spec))


def read_records(dataset: DatasetFile, split: str) -> Records | None:
    """Loads a split and, where it is small enough, enumerates its records.

    Args:
        dataset: the user's file.
        split: its name.

    Returns:
        The records, or None where there is no such split.

    Raises:
        ConfigError: `load` or one of its records failed, or there is none.
    """
    records = load_split(dataset, split)
    if records is None:
        return None
    return enumerate_records(f"{dataset.name}: load({split!r})", records)


def enumerate_records(
    name: str, records: tf.data.Dataset, *, budget_bytes: float = MEMORY_BUDGET_BYTES
) -> Records:
    """Holds the records of a dataset, if their number is known and they fit the budget."""
    cardinality = int(records.cardinality())
    if cardinality < 0:
        return Records(name, records, None, None, cardinality == tf.data.INFINITE_CARDINALITY)
    specs = tf.nest.flatten(records.element_spec)
    if not all(isinstance(spec, tf.TensorSpec) for spec in specs):
        raise ConfigError(
            f"{name} gives sparse or ragged records ({records.element_spec}); expected dense "
            "tensors. Make them dense, or keep the file's name and decode it in preprocess."
        )
    try:
        leaves = _materialize(records, cardinality, budget_bytes)
    except Exception as error:
        raise ConfigError(
            f"{name} failed while its records were read: {one_line(error)}"
        ) from error
    return Records(name, records, cardinality, leaves)


def _is_serialized(spec: tf.TensorSpec) -> bool:
    return not spec.shape.is_fully_defined()


def _materialize(
    records: tf.data.Dataset, count: int, budget_bytes: float
) -> tuple[tf.Tensor, ...] | None:
    """All records as stacked tensors, or None as soon as they turn out to be too large."""
    held = _held_slices(records)
    if held is None:
        read: tuple[tf.Tensor, ...] | None = _read_all(records, count, budget_bytes)
        return read
    return held if sum(_size_bytes(leaf) for leaf in held) <= budget_bytes else None


def _held_slices(records: tf.data.Dataset) -> tuple[tf.Tensor, ...] | None:
    """What `from_tensor_slices` was given, so that a million records needn't be read one by one."""
    if type(records).__name__ != "_TensorSliceDataset":
        return None
    with tf.device("CPU:0"):  # never a copy on a GPU
        return tuple(tf.identity(leaf) for leaf in records._tensors)


@tf.autograph.experimental.do_not_convert  # nothing of the user's is called in it
def _read_all(
    records: tf.data.Dataset, count: int, budget_bytes: float
) -> tuple[tf.Tensor, ...] | None:
    specs = tf.nest.flatten(records.element_spec)

    def stackable(*record: Any) -> tuple[tf.Tensor, ...]:  # noqa: ANN401
        leaves = tf.nest.flatten(record)
        return tuple(
            tf.io.serialize_tensor(leaf) if _is_serialized(spec) else leaf
            for leaf, spec in zip(leaves, specs, strict=True)
        )

    options = tf.data.Options()
    options.autotune.enabled = False
    batches = records.map(stackable).batch(_READ_AHEAD).with_options(options)
    parts: list[tuple[tf.Tensor, ...]] = []
    seen_bytes = 0
    for batch in batches:
        parts.append(batch)
        seen_bytes += sum(_size_bytes(leaf) for leaf in parts[-1])
        # The first records tell how large all of them will be: no need to read on to find out.
        if seen_bytes / min(count, len(parts) * _READ_AHEAD) * count > budget_bytes:
            return None
    with tf.device("CPU:0"):  # never a copy on a GPU
        return tuple(tf.concat(leaf, axis=0) for leaf in zip(*parts, strict=True))


def _bytes_of(leaf: tf.Tensor) -> Iterable[Any]:
    """All texts, or a view of all numbers: the records may be a gigabyte."""
    if leaf.dtype == tf.string:
        texts: Iterable[Any] = leaf.numpy().ravel()
        return texts
    with tf.device("CPU:0"):
        # Python knows no buffer of bfloat16, TensorFlow no bytes of bool.
        return [memoryview(leaf if leaf.dtype == tf.bool else tf.bitcast(leaf, tf.uint8))]


def _size_bytes(leaf: tf.Tensor) -> int:
    if leaf.dtype == tf.string:
        return int(tf.reduce_sum(tf.cast(tf.strings.length(leaf), tf.int64)))
    return int(leaf.shape.num_elements() * leaf.dtype.size)
