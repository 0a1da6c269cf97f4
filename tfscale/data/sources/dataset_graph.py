"""What a `tf.data.Dataset` of the user's is made of, so that each worker makes its share alone.

A dataset is a chain: slices of tensors, say, then a shuffle, a map that decodes, a prefetch. What
it begins with can often be reached by an index, and its maps can be applied to one record as well
as to all. Read from its front, the same dataset would make every worker decode every image.

tf.data has no public way to ask what a dataset is made of: all that knows its classes is here.
`tests/data/sources/test_dataset_graph.py` tells when they have changed; what isn't known is read
from its front, as before.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from tfscale.data.collection import Collection
from tfscale.data.sources.file_datasets import records_of_each, records_of_files
from tfscale.data.sources.in_memory import slices
from tfscale.structures import Foreign, Spec, Structure

_ENDLESS = 2**62
_MOST_FILES = 1_000_000
_PASSED_ON = ("Prefetch", "Options", "Model", "AssertCardinality")
MAPS = ("Map", "ParallelMap")


def collection_of(dataset: tf.data.Dataset, *, once: bool = False) -> Collection | None:
    """The records of a dataset by their numbers, in its order.

    A shuffle is left out where only maps follow it, because training has an order of its own.

    Args:
        dataset: as the user gave it.
        once: whether the records of an endless `.repeat()` that only maps follow are wanted once.

    Returns:
        The records, or None where only reading from the front gives them.
    """
    found = _collection_of(dataset, may_reorder=True, once=once)
    return found if found is not None and found.num_records < _ENDLESS else None


def last_maps(
    dataset: tf.data.Dataset,
) -> tuple[tf.data.Dataset, tuple[Callable[[Any], Any], ...]]:
    """What a dataset is before its last maps, and these: they are needed for own records alone."""
    functions: list[Callable[[Any], Any]] = []
    while kind_of(dataset) in (*MAPS, "Prefetch", "Options") and _is_dense(dataset._inputs()[0]):
        if kind_of(dataset) in MAPS:
            functions.insert(0, _mapped_by(dataset))
        (dataset,) = dataset._inputs()
    return dataset, tuple(functions)


def cache_files(dataset: tf.data.Dataset) -> Iterator[tuple[str, tf.data.Dataset]]:
    """Every `.cache(path)` that a dataset has, the innermost first, and what is read through it."""
    for beneath in dataset._inputs():
        yield from cache_files(beneath)
    if kind_of(dataset) == "Cache" and (path := dataset._filename.numpy().decode()):
        yield path, dataset


def _collection_of(dataset: Foreign, *, may_reorder: bool, once: bool = False) -> Collection | None:
    kind = kind_of(dataset)
    if not _is_dense(dataset):
        return None
    if kind in ("TensorSlice", "Tensor", "Range"):
        return _root(dataset, kind)
    if kind in _OF_SEVERAL:
        return _OF_SEVERAL[kind](dataset)
    if kind == "Shuffle" and not may_reorder:
        return None
    keeps_order = kind in (*MAPS, *_PASSED_ON, "Shuffle")
    if not keeps_order and kind not in ("Take", "Skip", "Shard", "Repeat"):
        return None
    (beneath,) = dataset._inputs()
    # What a `take` leaves out isn't known if the order isn't.
    ends_here = once and kind == "Repeat" and int(dataset._count) < 0
    keeps_order = keeps_order or ends_here
    inner = _collection_of(
        beneath, may_reorder=may_reorder and keeps_order, once=once and keeps_order
    )
    if inner is None:
        return None
    if kind in MAPS:
        return inner.map(_mapped_by(dataset))
    if kind == "AssertCardinality" and inner.num_records != int(dataset.cardinality()):
        return None  # reading it says what is wrong
    return inner if keeps_order else _chosen(dataset, kind, inner)


def _root(dataset: Foreign, kind: str) -> Collection:
    spec = dataset.element_spec
    if kind == "Range":
        start, stop, step = (int(value) for value in (dataset._start, dataset._stop, dataset._step))
        dtype = spec.dtype

        def numbers_of(numbers: tf.Tensor) -> tf.Tensor:
            return tf.cast(start + numbers * step, dtype)

        size = len(range(start, stop, step))
        return Collection(size, spec, numbers_of, _mixed(start, stop, step), is_held=True)
    with tf.device("CPU:0"):  # never a copy on a GPU
        leaves = [tf.identity(leaf) for leaf in dataset._tensors]
    if kind == "Tensor":
        leaves = [leaf[tf.newaxis] for leaf in leaves]
    # A shape that isn't fully defined would be held serialized, but slices of a tensor have one.
    exact = [tf.TensorSpec(leaf.shape[1:], leaf.dtype) for leaf in leaves]
    size = int(leaves[0].shape[0])
    return slices(tf.nest.pack_sequence_as(spec, exact), leaves, num_records=size)


def _zipped(dataset: Foreign) -> Collection | None:
    structure = dataset._datasets
    # Each has an order of its own, which must stay.
    found = [_collection_of(one, may_reorder=False) for one in tf.nest.flatten(structure)]
    parts = [one for one in found if one is not None]
    if len(parts) < len(found):
        return None

    size = min(part.num_records for part in parts)
    checksum = _mixed(*(part.checksum for part in parts))

    def read(numbers: tf.Tensor) -> tuple[Structure, ...]:
        return tuple(part.read(numbers) for part in parts)

    def packed(records: Sequence[Structure]) -> Structure:
        return tf.nest.pack_sequence_as(structure, list(records))

    def finish(records: tuple[Structure, ...]) -> Structure:
        return packed([part.finished(one) for part, one in zip(parts, records, strict=True)])

    specs = tuple(part.spec for part in parts)
    if any(part.functions for part in parts):
        return Collection(size, specs, read, checksum, (finish,), is_held=True)
    return Collection(
        size, packed(specs), lambda numbers: packed(read(numbers)), checksum, is_held=True
    )


def _chosen(dataset: Foreign, kind: str, inner: Collection) -> Collection | None:
    """Some of the records of another collection, or all of them several times."""
    size = inner.num_records
    if kind == "Repeat":
        times = int(dataset._count)
        every = size * times if 0 <= times and size < _ENDLESS else _ENDLESS
        return _renumbered(inner, every, lambda numbers: numbers % size)
    if kind == "Shard":
        of, own = int(dataset._num_shards), int(dataset._index)
        return _renumbered(inner, len(range(own, size, of)), lambda numbers: own + numbers * of)
    count = int(dataset._count)
    if kind == "Take":
        return _renumbered(inner, size if count < 0 else min(count, size), lambda numbers: numbers)
    skipped = size if count < 0 else min(count, size)
    return _renumbered(inner, size - skipped, lambda numbers: numbers + skipped)


def _renumbered(inner: Collection, size: int, of: Callable[[tf.Tensor], tf.Tensor]) -> Collection:
    ends = of(tf.constant([0, max(0, size - 1)], tf.int64)).numpy()
    return Collection(
        num_records=size,
        spec=inner.spec,
        read=lambda numbers: inner.read(of(numbers)),
        checksum=_mixed(inner.checksum, size, *ends.tolist()),
        functions=inner.functions,
        is_held=inner.is_held,
    )


def _of_names(dataset: Foreign) -> Collection | None:
    """The records of the files that another dataset names."""
    (beneath,) = dataset._inputs()
    names = _collection_of(beneath, may_reorder=False)
    if names is None or not names.is_held or names.num_records > _MOST_FILES:
        return None
    numbers = tf.range(names.num_records, dtype=tf.int64)
    return records_of_each(dataset, (names.at(number) for number in numbers))


def _unbatched(dataset: Foreign) -> Collection | None:
    """What was batched before, if nothing was done to the batches."""
    (beneath,) = dataset._inputs()
    if kind_of(beneath) == "Restructured":
        # As TensorFlow makes batches of any kind alike: by a map of its own.
        ((beneath,),) = (one._inputs() for one in beneath._inputs())
    while kind_of(beneath) in _PASSED_ON:
        (beneath,) = beneath._inputs()
    if kind_of(beneath) not in ("Batch", "ParallelBatch"):
        return None
    (single,) = beneath._inputs()
    inner = _collection_of(single, may_reorder=True)
    if inner is None or not bool(beneath._drop_remainder):
        return inner
    size = int(beneath._batch_size)
    return _renumbered(inner, inner.num_records // size * size, lambda numbers: numbers)


def _joined(dataset: Foreign) -> Collection | None:
    """The records of one collection, and then those of another."""
    found = [_collection_of(one, may_reorder=False) for one in dataset._inputs()]
    first, second = found
    if first is None or second is None or not (first.is_held and second.is_held):
        return None
    size = first.num_records

    def read(numbers: tf.Tensor) -> Structure:
        # Both are looked up, each at a place that it has.
        of_second = tf.maximum(numbers - size, 0)
        return numbers < size, first.read(tf.minimum(numbers, size - 1)), second.read(of_second)

    def either(record: Structure) -> Structure:
        is_first, one, other = record
        return tf.cond(is_first, lambda: first.finished(one), lambda: second.finished(other))

    return Collection(
        num_records=size + second.num_records,
        spec=(tf.TensorSpec([], tf.bool), first.spec, second.spec),
        read=read,
        checksum=_mixed(first.checksum, second.checksum),
        functions=(either,),
        is_held=True,
    )


_OF_SEVERAL: dict[str, Callable[[Foreign], Collection | None]] = {
    "Zip": _zipped,
    "Concatenate": _joined,
    "TFRecord": records_of_files,
    "TextLine": records_of_files,
    "Interleave": _of_names,
    "ParallelInterleave": _of_names,
    "FlatMap": _of_names,
    "Unbatch": _unbatched,
}


def _mixed(*numbers: int) -> int:
    return zlib.crc32(repr(numbers).encode())


def _mapped_by(dataset: Foreign) -> Callable[[Any], Any]:
    """The function of a map, of one record, as tf.data has traced it."""
    (wrapper,) = dataset._functions()

    def apply(record: Structure) -> Structure:
        made = wrapper.function(*tf.nest.flatten(record))
        return tf.nest.pack_sequence_as(dataset.element_spec, tf.nest.flatten(made))

    return apply


def kind_of(dataset: Foreign) -> str:
    """What TensorFlow calls the last thing that makes a dataset: "Map", "Batch", "TensorSlice"."""
    name = type(dataset).__name__.lstrip("_")
    return str(name.partition("Dataset")[0])


def _is_dense(dataset: tf.data.Dataset) -> bool:
    spec: Spec = dataset.element_spec
    return all(isinstance(leaf, tf.TensorSpec) for leaf in tf.nest.flatten(spec))
