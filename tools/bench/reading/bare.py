"""The same operations in a chain of tf.data, as its guides write it: read, shuffle, map, batch.

It mixes in a buffer what it reads in the files' order, and has no position to go on from.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfscale.data.batching import parallelism
from tfscale.data.formats import array_record, image_folder
from tfscale.structures import Structure
from tools.bench.reading import files
from tools.bench.reading.formats import FORMATS, ReadingTask, example_of, record_files

_BUFFER = 2048
_READ_AT_ONCE = 64  # a call of Python for each record would be what is measured
_PREFETCHED = 2


def prepare(task: ReadingTask, name: str) -> Callable[[], Structure]:
    """Gives what makes the next batch of a data set."""
    records = _records(task, name).shuffle(_BUFFER, seed=0).repeat()
    if name != "memory":
        records = records.map(
            lambda record: example_of(name, record), num_parallel_calls=parallelism()
        )
    batches = records.batch(FORMATS[name].batch, drop_remainder=True).prefetch(_PREFETCHED)
    iterator = iter(batches)
    return lambda: next(iterator)


def _records(task: ReadingTask, name: str) -> tf.data.Dataset:
    if name == "memory":
        return tf.data.Dataset.from_tensor_slices(files.in_memory(task.folder))
    if name == "image_folder":
        listed = image_folder.records(f"{task.folder}/{name}/train")
        return tf.data.Dataset.from_tensor_slices(listed.read(tf.range(listed.num_records)))
    if name == "tfds":
        return _of_tfds(f"{task.folder}/{name}")
    if name == "array_record":
        return _of_array_record(record_files(task.folder, name))
    return tf.data.TFRecordDataset(record_files(task.folder, name))


def _of_tfds(folder: str) -> tf.data.Dataset:
    import tensorflow_datasets as library

    builder = library.builder(files.TFDS_NAME, data_dir=folder)
    decoders = {"image": library.decode.SkipDecoding()}
    return builder.as_dataset(split="train", decoders=decoders, shuffle_files=True)


def _of_array_record(paths: list[str]) -> tf.data.Dataset:
    """The package has no dataset of tf.data's; its source is read by number, some at a time."""
    array_record.module()  # says how to install it
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    source = ArrayRecordDataSource(paths)

    def read(numbers: np.ndarray) -> np.ndarray:
        return np.array(source.__getitems__(numbers.tolist()), object)

    numbers = tf.data.Dataset.range(len(source)).shuffle(len(source), seed=0)
    texts = numbers.batch(_READ_AT_ONCE).map(
        lambda some: tf.ensure_shape(tf.numpy_function(read, [some], tf.string), [None]),
        num_parallel_calls=parallelism(),
    )
    return texts.unbatch()
