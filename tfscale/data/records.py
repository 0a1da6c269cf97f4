"""Records that are held in memory, each reached by its index.

Records are cheap by contract (file names, small arrays, bytes), so a worker holds all of them
once and takes the ones of its share by index, before any expensive work. A leaf whose shape differs
from record to record is held serialized.
"""

import zlib
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from tfscale.data.indexed import Indexed
from tfscale.errors import ConfigError, one_line
from tfscale.structures import Structure

_READ_AHEAD = 1024


def hold(name: str, records: tf.data.Dataset, *, budget_bytes: float) -> Indexed | None:
    """Holds the records of a dataset of known size.

    Args:
        name: of the split, for messages.
        records: a finite number of them, which the dataset knows.
        budget_bytes: the most that may be held.

    Returns:
        A split whose records are reached by an index, or None where they are too many.

    Raises:
        ConfigError: they are sparse or ragged, or one of them failed.
    """
    specs = tf.nest.flatten(records.element_spec)
    if not all(isinstance(spec, tf.TensorSpec) for spec in specs):
        raise ConfigError(
            f"{name} gives sparse or ragged records ({records.element_spec}); expected dense "
            "tensors. Make them dense, or keep the file's name and decode it in preprocess."
        )
    count = int(records.cardinality())
    try:
        leaves = _materialize(records, count, budget_bytes)
    except Exception as error:
        raise ConfigError(
            f"{name} failed while its records were read: {one_line(error)}"
        ) from error
    return None if leaves is None else _indexed(name, records, leaves)


def _indexed(name: str, records: tf.data.Dataset, leaves: tuple[tf.Tensor, ...]) -> Indexed:
    specs = tf.nest.flatten(records.element_spec)

    def at(index: tf.Tensor) -> Structure:
        gathered = []
        for leaf, spec in zip(leaves, specs, strict=True):
            value = tf.gather(leaf, index)
            if _is_serialized(spec):
                value = tf.ensure_shape(tf.io.parse_tensor(value, spec.dtype), spec.shape)
            gathered.append(value)
        return tf.nest.pack_sequence_as(records.element_spec, gathered)

    return Indexed(
        name=name,
        records=records,
        num_examples=int(records.cardinality()),
        at=at,
        takes_many=not any(_is_serialized(spec) for spec in specs),
        checksum=_checksum(leaves),
    )


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
        return tuple(tf.identity(leaf) for leaf in records._tensors)  # noqa: SLF001 - tf.data has no way to ask


@tf.autograph.experimental.do_not_convert  # nothing of the user's is called in it
def _read_all(
    records: tf.data.Dataset, count: int, budget_bytes: float
) -> tuple[tf.Tensor, ...] | None:
    specs = tf.nest.flatten(records.element_spec)

    def stackable(*record: Structure) -> tuple[tf.Tensor, ...]:
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


def _checksum(leaves: tuple[tf.Tensor, ...]) -> int:
    """CRC-32 of all records in their order, the same on workers that hold the same."""
    total = 0
    for leaf in leaves:
        for text in _bytes_of(leaf):
            total = zlib.crc32(text, total)
    return total


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
