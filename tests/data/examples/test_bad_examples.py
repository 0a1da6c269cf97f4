"""A record of which no example can be made is skipped alone, counted and named, or ends the run."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tfscale.data.evaluation_batches import evaluation_input
from tfscale.data.formats import tfrecord
from tfscale.data.sharding import Sharding
from tfscale.data.sources.dataset_file import read_dataset_file
from tfscale.data.sources.source import source_of
from tfscale.data.training_batches import training_input
from tfscale.errors import ConfigError

STRATEGY = tf.distribute.get_strategy()
SIZE, BATCH = 24, 6
BAD = (13, 14, 20)


def _preprocess(record, training):
    number = tf.strings.to_number(record, tf.int64)
    image = tf.io.decode_jpeg(_jpeg(number))
    return tf.cast(image[0, 0], tf.float32) + tf.cast(number, tf.float32), number % 4


def _jpeg(number):
    """A picture, or for some numbers what is none."""
    good = tf.io.encode_jpeg(tf.zeros([8, 8, 1], tf.uint8))
    is_bad = tf.reduce_any(tf.equal(number, tf.constant(BAD, tf.int64)))
    return tf.where(is_bad, "no picture", good)


def _file(most, load=None, preprocess=_preprocess, **attributes):
    made = {"num_classes": 4, **attributes}
    file = read_dataset_file(
        SimpleNamespace(__name__="mine", load=load or _load, preprocess=preprocess, **made)
    )
    return replace(file, max_bad_examples=most)


def _load(split):
    return tf.data.Dataset.range(SIZE).map(tf.as_string)


def _input(make, file, workers=1, worker=0, **settings):
    return make(
        file, source_of(file, "train"), Sharding(BATCH, workers, worker, 1), STRATEGY, **settings
    )


def _trained(file, workers, steps=4):
    """The numbers of each step, and the bad ones that all workers found."""
    taken, found = [[] for _ in range(steps)], set()
    for worker in range(workers):
        made = _input(training_input, file, workers, worker, seed=1)
        made.start()
        for step in taken:
            step += next(made.iterator)[0][:, 0].numpy().astype(int).tolist()
        found |= set(made.bad.found)
    return taken, found


@tf.autograph.experimental.do_not_convert
def test_the_next_good_record_stands_in_for_a_bad_one_on_any_number_of_workers():
    alone, found = _trained(_file(3), 1)
    numbers = [number for step in alone for number in step]
    assert len(numbers) == SIZE  # every step keeps its size
    assert sorted(numbers) == sorted([*(set(range(SIZE)) - set(BAD)), 15, 15, 21])
    assert found == set(BAD)
    assert _trained(_file(3), 2) == (alone, found)


@tf.autograph.experimental.do_not_convert
def test_an_evaluation_leaves_bad_ones_out():
    evaluated, found = [], set()
    for worker in range(2):
        made = _input(evaluation_input, _file(3), 2, worker)
        made.start()
        for _ in range(made.steps):
            index, (x, _) = next(made.iterator)
            evaluated += x[:, 0].numpy()[index.numpy() >= 0].astype(int).tolist()
        found |= set(made.bad.found)
    assert sorted(evaluated) == sorted(set(range(SIZE)) - set(BAD))
    assert found == set(BAD)


@tf.autograph.experimental.do_not_convert
def test_more_bad_ones_than_are_allowed_end_the_run_with_a_name():
    made = _input(training_input, _file(2), seed=1)
    made.start()
    with pytest.raises(tf.errors.OpError) as caught:
        for _ in range(4):
            next(made.iterator)
    message = str(caught.value)
    assert "mine: load('train') has 3 bad records and perhaps more, such as record 20;" in message
    assert "at most --max_bad_examples=2" in message


@tf.autograph.experimental.do_not_convert
@pytest.mark.parametrize("make", [training_input, evaluation_input])
def test_by_default_the_first_one_ends_the_run_and_is_named(make):
    settings = {"seed": 1} if make is training_input else {}
    made = _input(make, _file(0), **settings)
    made.start()
    with pytest.raises(tf.errors.OpError):
        for _ in range(4):
            next(made.iterator)
    assert isinstance(made.why(0), ConfigError)
    why = str(made.why(0))
    assert why.startswith("mine: load('train'): record ")
    assert int(why.split("record ")[1].split(":")[0]) in BAD
    assert "decode" in why.lower()
    assert made.why(4) is not None or make is evaluation_input


@pytest.mark.promise("damage")
@tf.autograph.experimental.do_not_convert
def test_a_damaged_record_of_a_file_is_named_by_its_place_and_takes_no_other_with_it(tmp_path):
    path = tmp_path / "a.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number in range(SIZE):
            writer.write(f"{number:02}".encode())
    data = bytearray(path.read_bytes())
    data[18 * 15 + 12] ^= 1  # the number of record 15
    path.write_bytes(data)

    def load(split):
        return tfrecord.records(str(path))

    def preprocess(record, training):
        return tf.strings.to_number(record)[tf.newaxis], 0

    file = _file(1, load, preprocess)
    steps, found = _trained(file, 2)
    assert found == {15}
    assert sorted(n for step in steps for n in step) == sorted([*(set(range(SIZE)) - {15}), 16])
    why = str(_input(training_input, _file(0, load, preprocess), seed=1).why(0))
    assert why.startswith(f"mine: load('train'): {path}, byte 270: the record is damaged")


@tf.autograph.experimental.do_not_convert
def test_a_label_that_is_no_class_is_a_bad_example():
    def preprocess(record, training):
        number = tf.strings.to_number(record, tf.int64)
        return tf.cast(number, tf.float32)[tf.newaxis], tf.where(number == 17, number, number % 4)

    steps, found = _trained(_file(1, preprocess=preprocess), 1)
    assert found == {17}
    assert 17 not in [number for step in steps for number in step]
    why = str(_input(training_input, _file(0, preprocess=preprocess), seed=1).why(0))
    assert "mine: load('train'): record 17: " in why
    assert "gives the label 17" in why
    assert "expected a whole number from 0 to 3" in why


@tf.autograph.experimental.do_not_convert
def test_a_label_in_memory_that_is_no_class_is_found_without_a_preprocess():
    labels = [number % 4 for number in range(SIZE)]
    labels[17] = 17

    def load(split):
        return tf.data.Dataset.from_tensor_slices((tf.zeros([SIZE, 1]), labels))

    made = _input(training_input, _file(0, load, None), seed=1)
    made.start()
    with pytest.raises(tf.errors.OpError, match="gives the label"):
        for _ in range(4):
            next(made.iterator)
    assert "mine: load('train'): record 17: " in str(made.why(0))


@tf.autograph.experimental.do_not_convert
def test_a_disk_that_fails_is_no_mistake_of_the_command():
    def read(record):
        if record == b"17":
            raise OSError("no answer")
        return np.float32(record)

    def preprocess(record, training):
        x = tf.numpy_function(read, [record], tf.float32)
        return tf.ensure_shape(x, [])[tf.newaxis], 0

    why = _input(training_input, _file(0, preprocess=preprocess), seed=1).why(0)
    assert type(why) is RuntimeError
    assert "record 17: " in str(why) and "OSError: no answer" in str(why)


def test_a_first_label_that_is_no_class_is_refused_before_training():
    def preprocess(record, training):
        return tf.zeros([1]), tf.strings.to_number(record, tf.int64)

    with pytest.raises(ConfigError, match=r"gives the label 4 at record 4 ?; expected"):
        _input(training_input, _file(0, preprocess=preprocess), seed=1)


@tf.autograph.experimental.do_not_convert
def test_the_first_records_may_be_bad_too():
    def preprocess(record, training):
        number = tf.strings.to_number(record, tf.int64)
        valid = tf.debugging.Assert(number > 2, ["too small"])
        with tf.control_dependencies([valid]):
            return tf.cast(number, tf.float32)[tf.newaxis], number % 4

    _, found = _trained(_file(3, preprocess=preprocess), 1)
    assert found == {0, 1, 2}
    with pytest.raises(ConfigError, match="too small"):
        _input(training_input, _file(0, preprocess=preprocess), seed=1)


@tf.autograph.experimental.do_not_convert
def test_of_a_stream_a_bad_record_is_left_out():
    def load(split):
        return _load(split).filter(lambda record: True)

    made = _input(training_input, _file(3, load, shuffle=False), seed=1, steps_per_epoch=3)
    made.start()
    numbers = [int(n) for _ in range(3) for n in next(made.iterator)[0][:, 0]]
    assert numbers == [n for n in range(SIZE) if n not in BAD][:18]
    assert set(made.bad.found) <= set(BAD)
