"""Datasets of TFRecord and text files as TensorFlow spells them, whose records have an index.

`TFRecordDataset(names)` says which files it reads. `names.interleave(TFRecordDataset)` is another
spelling of it: its function has no operation beside those of a `TFRecordDataset`.
"""

from collections.abc import Callable, Iterable, Iterator

import tensorflow as tf

from tfscale.data.collection import Collection
from tfscale.data.formats import text_lines, tfrecord
from tfscale.structures import Foreign

# By the names of TensorFlow's classes and operations.
_READERS: dict[str, Callable[[list[str]], Collection]] = {
    "TFRecordDataset": tfrecord.records,
    "TFRecordDatasetV2": tfrecord.records,
    "TextLineDataset": text_lines.records,
    "TextLineDatasetV2": text_lines.records,
}
# What a dataset of files is made of in a graph, beside the one that reads.
_PLAIN = {
    *("Const", "FlatMapDataset", "Identity", "LegacyParallelInterleaveDatasetV2", "NoOp", "Pack"),
    *("ParallelInterleaveDatasetV4", "Placeholder", "Reshape", "TensorSliceDataset"),
}
_NO_COMPRESSION = (b"", b"default", b"true", b"false")  # the others are about determinism


def records_of_files(dataset: Foreign) -> Collection | None:
    """The records of a `TFRecordDataset` or `TextLineDataset`; None where its order isn't ours."""
    given, compression = dataset._filenames, dataset._compression_type
    if compression is not None and tf.convert_to_tensor(compression).numpy():
        return None
    if isinstance(given, tf.data.Dataset) and given.cardinality() < 0:
        return None
    rows = given if isinstance(given, tf.data.Dataset) else [given]
    names = [name.decode() for row in rows for name in tf.reshape(row, [-1]).numpy()]
    return _records(type(dataset).__name__, names)


def records_of_each(dataset: Foreign, names: Iterable[tf.Tensor]) -> Collection | None:
    """The records of `names.interleave(TFRecordDataset)`; None where its function does more.

    Args:
        dataset: an interleave or a flat_map.
        names: what it is made of, if that are the names of files.
    """
    (wrapper,) = dataset._functions()
    graph = wrapper.function.graph.as_graph_def()
    nodes = [*graph.node, *(node for one in graph.library.function for node in one.node_def)]
    readers = {node.op for node in nodes if node.op in _READERS}
    texts = {text for node in nodes for text in node.attr["value"].tensor.string_val}
    is_plain = {node.op for node in nodes} <= _PLAIN | readers and texts <= {*_NO_COMPRESSION}
    if not is_plain or len(readers) != 1:
        return None
    return _records(readers.pop(), list(_texts(names)))


def _texts(names: Iterable[tf.Tensor]) -> Iterator[str]:
    for name in names:
        if not tf.is_tensor(name) or name.dtype != tf.string or name.shape.rank:
            return
        yield name.numpy().decode()


def _records(reader: str, names: list[str]) -> Collection | None:
    if not names or names != sorted(set(names)):
        return None  # a format sorts its files, and has each once
    return _READERS[reader](names)
