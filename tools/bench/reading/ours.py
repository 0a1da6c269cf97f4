"""The library's own batches: the real `training_input` of a real dataset file."""

import time
from collections.abc import Callable
from types import SimpleNamespace

import tensorflow as tf

from tfscale.data.feed import Input
from tfscale.data.formats import tfrecord
from tfscale.data.sharding import Sharding
from tfscale.data.sources.dataset_file import DatasetFile, read_dataset_file
from tfscale.data.sources.source import Source, source_of
from tfscale.data.training_batches import training_input
from tfscale.errors import ConfigError
from tfscale.structures import Structure
from tools.bench.reading import dataset, files
from tools.bench.reading.formats import FORMATS, NUM_CLASSES, ReadingTask


def prepare(task: ReadingTask, name: str) -> Callable[[], Structure]:
    """Gives what makes the next batch of a data set."""
    if name == "memory":
        file = read_dataset_file(_in_memory(task.folder))
    else:
        file = read_dataset_file(dataset.__file__, (f"data_set={name}",), data_dir=task.folder)
    source = _train(file)
    batch = FORMATS[name].batch
    sharding = Sharding(batch * task.workers, task.workers, task.index, 1)
    batches = _input(file, source, sharding)
    batches.start()
    iterator = batches.iterator
    return lambda: next(iterator)


def seconds_to_position(path: str, position: int, batch: int) -> float:
    """How long the first batch of a position takes, from the listing of the files on.

    Args:
        path: of a TFRecord file of 8 bytes a record.
        position: how many records of the epoch were taken before.
        batch: examples of a batch.
    """
    started = time.perf_counter()

    class File:
        splits = ("train",)

        @staticmethod
        def load(split: str) -> Structure:
            del split
            return tfrecord.records(path)

        @staticmethod
        def preprocess(record: Structure, training: bool) -> Structure:
            del training
            number = tf.io.decode_raw(record, tf.int64)[0]
            return tf.cast(number, tf.float32), number

    file = read_dataset_file(File)
    batches = _input(file, _train(file), Sharding(batch, 1, 0, 1))
    batches.seek(position // batch)
    batches.start()
    next(batches.iterator)
    return time.perf_counter() - started


def _in_memory(folder: str) -> SimpleNamespace:
    """A dataset file whose records are examples, to which nothing is done."""

    def load(split: str) -> tf.data.Dataset:
        del split
        return tf.data.Dataset.from_tensor_slices(files.in_memory(folder))

    return SimpleNamespace(load=load, num_classes=NUM_CLASSES, splits=("train",))


def _train(file: DatasetFile) -> Source:
    source = source_of(file, "train")
    if source is None:
        raise ConfigError(f"{file.name} has no train split; expected one.")
    return source


def _input(file: DatasetFile, source: Source, sharding: Sharding) -> Input:
    return training_input(file, source, sharding, tf.distribute.get_strategy(), seed=0)
