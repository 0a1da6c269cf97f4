from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tfscale.data.examples.examples import ExampleMaker, first_examples
from tfscale.data.sources.dataset_file import read_dataset_file
from tfscale.data.sources.source import source_of
from tfscale.errors import ConfigError


def _file(load=lambda split: tf.data.Dataset.range(3), **attributes):
    return read_dataset_file(SimpleNamespace(__name__="mine", load=load, **attributes))


def _int64(*values):
    return tf.constant(values[0] if len(values) == 1 else values, tf.int64)


def test_without_preprocess_a_record_is_the_example():
    record = (tf.constant(1.0), tf.constant(2))
    assert ExampleMaker(_file(), training=True, seed=0)(record, None, None) is record


@pytest.mark.parametrize("training", [True, False])
def test_preprocess_is_told_whether_it_is_training(training):
    file = _file(preprocess=lambda record, training: (record, training))
    assert ExampleMaker(file, training=training, seed=0)(5, None, None) == (5, training)


def _seeds(run_seed, pairs):
    file = _file(preprocess=lambda record, training, seed: seed)
    make = ExampleMaker(file, training=True, seed=run_seed)
    return [make(None, _int64(index), _int64(epoch)) for epoch, index in pairs]


def test_the_seed_of_an_example_is_what_stateless_operations_take():
    (seed,) = _seeds(0, [(0, 0)])
    assert seed.shape == [2]
    assert tf.random.stateless_uniform([], seed).shape == []


def test_the_seed_of_an_example_is_an_int32_as_documented():
    (seed,) = _seeds(0, [(0, 0)])
    assert seed.dtype == tf.int32


def test_the_seed_depends_on_run_seed_epoch_and_index_alone():
    pairs = [(epoch, index) for epoch in range(3) for index in range(5)]
    once, again = (_seeds(7, pairs) for _ in range(2))
    np.testing.assert_array_equal(np.stack(once), np.stack(again))


def test_no_two_examples_share_a_seed():
    pairs = [(epoch, index) for epoch in range(3) for index in range(5)]
    seeds = {tuple(seed.numpy()) for run_seed in range(3) for seed in _seeds(run_seed, pairs)}
    assert len(seeds) == 3 * len(pairs)


def test_augmentation_is_the_same_within_a_dataset_and_outside_of_it():
    file = _file(preprocess=lambda record, training, seed: tf.random.stateless_uniform([3], seed))
    make = ExampleMaker(file, training=True, seed=3)
    mapped = tf.data.Dataset.range(4).map(lambda index: make(index, index, _int64(2)))
    for index, row in enumerate(mapped):
        np.testing.assert_array_equal(row, make(None, _int64(index), _int64(2)))


# The first examples.


def _first(file, **arguments):
    source = source_of(file, "train")
    make = ExampleMaker(file, training=True, seed=0)
    return first_examples(file, source, make, **{"training": True, **arguments})


def _pairs(size):
    return tf.data.Dataset.range(size).map(lambda number: (number, number % 3))


@pytest.mark.parametrize(("size", "count"), [(3, 3), (20, 8)])
def test_a_few_real_examples_are_made_first_with_their_weights(size, count):
    file = _file(lambda split: _pairs(size), class_weight={1: 2.0})
    x, y, weight = _first(file).first
    np.testing.assert_array_equal(x, np.arange(count))
    np.testing.assert_array_equal(weight, np.where(np.arange(count) % 3 == 1, 2.0, 1.0))
    assert _first(file).spec == tuple(tf.TensorSpec([], leaf.dtype) for leaf in (x, y, weight))


def test_an_evaluation_makes_one():
    x, _ = _first(_file(lambda split: _pairs(20)), training=False).first
    assert x.shape == [1]


def test_large_examples_are_made_one_at_a_time():
    def preprocess(record, training):
        return tf.zeros([5 * 2**20 // 4 * 2]), record  # 10 MiB

    assert _first(_file(preprocess=preprocess)).first[0].shape[0] == 2


def test_of_a_stream_no_more_than_the_first_records_are_read_and_no_pass_is_forgotten():
    read = []

    def numbers():
        for number in range(1000):
            read.append(number)
            yield number, number

    def load(split):
        signature = (tf.TensorSpec([], tf.int64),) * 2
        return tf.data.Dataset.from_generator(numbers, output_signature=signature)

    _first(_file(load))
    assert read[0] == 0
    # Twice to see that they are the same each time, and once to make examples of them.
    assert read.count(0) == 3
    assert len(read) <= 27


def test_the_first_examples_whose_shapes_differ_are_refused_with_both():
    def preprocess(record, training):
        return tf.zeros(tf.where(record == 2, [9, 8], [8, 8])), record

    file = _file(lambda split: tf.data.Dataset.range(20), preprocess=preprocess)
    with pytest.raises(ConfigError) as caught:
        _first(file)
    assert "the first one has (8, 8), number 2 has (9, 8)" in str(caught.value)
    assert "Resize or pad in preprocess." in str(caught.value)
