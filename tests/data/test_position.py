"""A step of a run has the same examples on any number of workers, whatever was read before it."""

import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tfscale.data.formats import array_record, text_lines, tfrecord
from tfscale.data.sharding import Sharding
from tfscale.data.sources.dataset_file import read_dataset_file
from tfscale.data.sources.source import source_of
from tfscale.data.training_batches import training_input

STRATEGY = tf.distribute.get_strategy()
SIZE = 101  # divides by nothing
BATCH = 12


def _written(folder, kind, num_files):
    """So many files of unequal size with the numbers from 0 to SIZE - 1, in their order."""
    bounds = [SIZE * k**2 // num_files**2 for k in range(num_files + 1)]
    for number, (first, end) in enumerate(zip(bounds, bounds[1:], strict=False)):
        path = f"{folder}/{number:02}.{kind}"
        texts = [f"{value}".encode() for value in range(first, end)]
        if kind == "tfrecord":
            with tf.io.TFRecordWriter(path) as writer:
                for text in texts:
                    writer.write(text)
        elif kind == "txt":
            with open(path, "wb") as file:
                file.writelines(text + b"\n" for text in texts)
        elif texts:  # a file of ArrayRecord has to have some
            from array_record.python import array_record_module

            writer = array_record_module.ArrayRecordWriter(path, "group_size:1")
            for text in texts:
                writer.write(text)
            writer.close()
    return f"{folder}/*.{kind}"


FORMATS = {
    "tfrecord": tfrecord.records,
    "array_record": array_record.records,
    "txt": text_lines.records,
}
SEEN = {
    "numbers": lambda: tf.data.Dataset.range(SIZE),
    "mapped": lambda: tf.data.Dataset.range(SIZE).map(tf.as_string),
    "stream": lambda: tf.data.Dataset.range(SIZE).filter(lambda n: True),
    "counted stream": lambda: (
        tf.data.Dataset.range(SIZE)
        .interleave(tf.data.Dataset.from_tensors)
        .apply(tf.data.experimental.assert_cardinality(SIZE))
    ),
}


def _preprocess(record, training, seed):
    number = tf.strings.to_number(record) if record.dtype == tf.string else record
    return tf.cast(number, tf.float32), tf.random.stateless_uniform([], seed)


def _file(load, **attributes):
    return read_dataset_file(
        SimpleNamespace(__name__="mine", load=load, preprocess=_preprocess, **attributes)
    )


@tf.autograph.experimental.do_not_convert
def _epoch(file, workers, first_step, steps):
    """The examples that so many workers take together in some steps, one list for each step."""
    source = source_of(file, "train")
    taken = [[] for _ in range(steps)]
    for worker in range(workers):
        sharding = Sharding(BATCH, workers, worker, 1)
        made = training_input(file, source, sharding, STRATEGY, seed=3, steps_per_epoch=8)
        made.seek(first_step)
        made.start()
        for step in range(steps):
            numbers, drawn = next(made.iterator)
            taken[step] += zip(numbers.numpy().tolist(), drawn.numpy().tolist(), strict=True)
    return [sorted(step) for step in taken]


@pytest.mark.promise("epoch")
@pytest.mark.parametrize(
    ("kind", "shuffle"),
    [*((kind, True) for kind in (*FORMATS, *SEEN)), ("tfrecord", False), ("stream", False)],
)
def test_an_epoch_taken_by_4_then_3_then_1_then_2_workers_has_each_example_once(
    tmp_path, kind, shuffle
):
    if kind in FORMATS:
        files = _written(tmp_path, kind, 5)
        file = _file(lambda split: FORMATS[kind](files), shuffle=shuffle)
    else:
        file = _file(lambda split: SEEN[kind](), shuffle=shuffle)
    alone = _epoch(file, 1, 0, 10)
    together, step = [], 0
    for workers, steps in ((4, 2), (3, 3), (1, 1), (2, 4)):  # and into the next epoch
        together += _epoch(file, workers, step, steps)
        step += steps
    assert together == alone  # numbers and what augmentation drew for them
    seen = [number for step in alone[:8] for number, _ in step]
    assert len(set(seen)) == len(seen) == 8 * BATCH
    if not shuffle:
        assert seen == list(range(8 * BATCH))


@pytest.mark.promise("epoch")
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_no_example_is_twice_or_missing_whatever_files_there_are(tmp_path, kind, workers):
    for num_files in sorted({max(1, workers - 1), workers, 3 * workers + 1}):
        folder = tmp_path / str(num_files)
        os.mkdir(folder)
        files = _written(folder, kind, num_files)
        file = _file(lambda split, files=files: FORMATS[kind](files))
        source = source_of(file, "train")
        assert source.num_examples == SIZE
        evaluated, trained = [], []
        for worker in range(workers):
            sharding = Sharding(BATCH, workers, worker, 1)
            steps = source.evaluation_steps(sharding)
            places = source.evaluation_places(sharding)
            evaluated += _taken(places, steps * sharding.worker_batch)
            trained += _taken(source.training_places(sharding, 3), 8 * sharding.worker_batch)
        assert sorted(evaluated) == list(range(SIZE))
        assert len(set(trained)) == len(trained) == 8 * BATCH


@tf.autograph.experimental.do_not_convert
def _taken(places, count):
    """The numbers of the next records that don't only fill up."""
    made = places.elements.map(lambda *place: places.fetch(*place)).take(count)
    return [int(record) for record, index, _ in made if index >= 0]


def test_the_plan_says_how_many_records_each_worker_reads_of_how_many_files(tmp_path):
    files = _written(tmp_path, "tfrecord", 5)
    source = source_of(_file(lambda split: tfrecord.records(files)), "train")
    assert source.describe(Sharding(BATCH, 3, 1, 1)) == (
        "101 records of 5 files, in an order of seed and epoch alone; each worker reads 32 of them "
        "in an epoch, 4 of the 12 of each step"
    )


def test_a_file_that_keeps_its_order_says_so_in_the_plan():
    file = _file(lambda split: tf.data.Dataset.range(SIZE), shuffle=False)
    assert "in their own order" in source_of(file, "train").describe(Sharding(BATCH, 1, 0, 1))


def test_of_what_lies_in_files_records_are_read_many_at_a_time(tmp_path):
    files = _written(tmp_path, "tfrecord", 1)
    found = source_of(_file(lambda split: tfrecord.records(files)), "train")
    calls = []

    def counted(numbers):
        tf.numpy_function(lambda given: calls.append(len(given)), [numbers], [])
        return tf.as_string(numbers)

    source = replace(found, collection=replace(found.collection, read=counted))
    places = source.training_places(Sharding(BATCH, 1, 0, 1), seed=0)
    for _ in places.elements.take(96):
        pass
    assert np.mean(calls) > 12
