"""The library's own batches: the real `training_input` of a real dataset file."""

import time
from collections.abc import Callable

import tensorflow as tf

from tfscale.bench.reading import dataset, memory_dataset
from tfscale.bench.reading.formats import FORMATS, ReadingTask
from tfscale.data.dataset_file import DatasetFile, read_dataset_file
from tfscale.data.feed import Input
from tfscale.data.formats import tfrecord
from tfscale.data.sharding import Sharding
from tfscale.data.source import Source, source_of
from tfscale.data.training_batches import training_input
from tfscale.errors import ConfigError
from tfscale.structures import Structure


def prepare(task: ReadingTask, name: str) -> Callable[[], Structure]:
    """Gives what makes the next batch of a data set."""
    is_held = name == "memory"
    written = memory_dataset.__file__ if is_held else dataset.__file__
    options = () if is_held else (f"data_set={name}",)
    file = read_dataset_file(written, options, data_dir=task.folder)
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


def _train(file: DatasetFile) -> Source:
    source = source_of(file, "train")
    if source is None:
        raise ConfigError(f"{file.name} has no train split; expected one.")
    return source


def _input(file: DatasetFile, source: Source, sharding: Sharding) -> Input:
    return training_input(file, source, sharding, tf.distribute.get_strategy(), seed=0)
