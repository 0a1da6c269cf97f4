"""Records that are held in memory, each reached by its index.

Records are cheap by contract (file names, small arrays, bytes), so a worker holds all of them
once and takes the ones of its share by index, before any expensive work. A leaf whose shape differs
from record to record is held serialized.
"""

import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

from tfscale.data.batching import without_autotune
from tfscale.data.collection import Collection
from tfscale.errors import ConfigError, one_line
from tfscale.structures import Spec, Structure

_FIRST, _READ_AHEAD = 16, 1024  # records


def hold(name: str, records: tf.data.Dataset, *, budget_bytes: float) -> Collection | None:
    """Reads all records of a dataset of known size, and holds them.

    Args:
        name: of the split, for messages.
        records: a finite number of them, which the dataset knows.
        budget_bytes: the most that may be held.

    Returns:
        The records, or None where they are too many.

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
        leaves = _read_all(records, count, budget_bytes)
    except Exception as error:
        raise unreadable(name, error) from error
    if leaves is None:
        return None
    held = slices(records.element_spec, leaves, num_records=count)
    if not any(_is_serialized(spec) for spec in specs):
        return held
    return held.map(lambda record: _parsed(record, records.element_spec))


def slices(spec: Spec, leaves: Sequence[tf.Tensor], *, num_records: int) -> Collection:
    """A collection of what stacked tensors hold.

    Args:
        spec: of one record; where a shape isn't fully defined its leaf holds serialized tensors.
        leaves: one for each of `spec`, each with `num_records` rows.
        num_records: how many.
    """

    def read(numbers: tf.Tensor) -> Structure:
        taken = [tf.gather(leaf, numbers) for leaf in leaves]
        return tf.nest.pack_sequence_as(spec, taken)

    return Collection(num_records, _as_held(spec), read, checksum_of(leaves), is_held=True)


def unreadable(name: str, error: Exception) -> ConfigError:
    """Why the records of a split can't be read, in a line."""
    return ConfigError(f"{name} failed while its records were read: {one_line(error)}")


def size_bytes(leaf: tf.Tensor) -> int:
    """Bytes of a tensor's contents."""
    if leaf.dtype == tf.string:
        return int(tf.reduce_sum(tf.cast(tf.strings.length(leaf), tf.int64)))
    return int(leaf.shape.num_elements() * leaf.dtype.size)


def checksum_of(leaves: Iterable[tf.Tensor]) -> int:
    """CRC-32 of tensors' contents in their order."""
    total = 0
    for leaf in leaves:
        for text in _bytes_of(leaf):
            total = zlib.crc32(text, total)
    return total


def _parsed(record: Structure, spec: Spec) -> Structure:
    def parse(leaf: tf.Tensor, one: tf.TensorSpec) -> tf.Tensor:
        if not _is_serialized(one):
            return leaf
        return tf.ensure_shape(tf.io.parse_tensor(leaf, one.dtype), one.shape)

    return tf.nest.map_structure(parse, record, spec)


def _is_serialized(spec: tf.TensorSpec) -> bool:
    return not spec.shape.is_fully_defined()


@tf.autograph.experimental.do_not_convert  # nothing of the user's is called in it
def _read_all(
    records: tf.data.Dataset, count: int, budget_bytes: float
) -> tuple[tf.Tensor, ...] | None:
    """All records as stacked tensors, or None as soon as they turn out to be too large."""
    specs = tf.nest.flatten(records.element_spec)

    def stackable(*record: Structure) -> tuple[tf.Tensor, ...]:
        leaves = tf.nest.flatten(record)
        return tuple(
            tf.io.serialize_tensor(leaf) if _is_serialized(spec) else leaf
            for leaf, spec in zip(leaves, specs, strict=True)
        )

    rows = records.map(stackable)
    # The first records tell how large all of them will be, a few of them already: a thousand
    # pictures are half a gigabyte.
    for few in without_autotune(rows.batch(_FIRST).take(1)):
        if sum(size_bytes(leaf) for leaf in few) / min(count, _FIRST) * count > budget_bytes:
            return None
    parts: list[tuple[tf.Tensor, ...]] = []
    seen_bytes = 0
    for batch in without_autotune(rows.batch(_READ_AHEAD)):
        parts.append(batch)
        seen_bytes += sum(size_bytes(leaf) for leaf in parts[-1])
        if seen_bytes / min(count, len(parts) * _READ_AHEAD) * count > budget_bytes:
            return None
    if not parts:
        as_held = [(leaf.shape, leaf.dtype) for leaf in _as_held(specs)]
        return tuple(tf.zeros([0, *shape], dtype) for shape, dtype in as_held)
    with tf.device("CPU:0"):  # never a copy on a GPU
        return tuple(tf.concat(leaf, axis=0) for leaf in zip(*parts, strict=True))


def _as_held(spec: Spec) -> Spec:
    """What is held of each leaf: itself, or its serialized form."""
    return tf.nest.map_structure(
        lambda one: tf.TensorSpec([], tf.string) if _is_serialized(one) else one, spec
    )


def _bytes_of(leaf: tf.Tensor) -> Iterable[Any]:
    """All texts, or a view of all numbers: the records may be a gigabyte."""
    if leaf.dtype == tf.string:
        texts: Iterable[Any] = tf.reshape(leaf, [-1]).numpy()
        return texts
    with tf.device("CPU:0"):
        # Python knows no buffer of bfloat16, TensorFlow no bytes of bool.
        return [memoryview(leaf if leaf.dtype == tf.bool else tf.bitcast(leaf, tf.uint8))]
