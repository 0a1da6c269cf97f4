"""Examples that are the same each time are made once, and kept."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import tensorflow as tf

from tfscale.data.evaluation_batches import evaluation_input
from tfscale.data.sharding import Sharding
from tfscale.data.sources.dataset_file import read_dataset_file
from tfscale.data.sources.source import source_of
from tfscale.data.training_batches import training_input
from tfscale.errors import ConfigError

STRATEGY = tf.distribute.get_strategy()
SIZE, BATCH = 10, 4


def _file(where, made=None, preprocess=None, **attributes):
    counted = [] if made is None else made

    def count(number):
        counted.append(int(number))
        return number

    def several_dtypes(record, training):
        number = tf.ensure_shape(tf.numpy_function(count, [record], tf.int64), [])
        x = {
            "uint8": tf.fill([2, 3], tf.cast(number, tf.uint8)),
            "bool": tf.stack([number > 4, number % 2 == 0]),
            "half": tf.cast(number, tf.bfloat16)[tf.newaxis] / 2,
        }
        return x, tf.cast(number, tf.float32), tf.cast(number, tf.float64)

    file = read_dataset_file(
        SimpleNamespace(
            __name__="mine",
            load=lambda split: tf.data.Dataset.range(SIZE),
            preprocess=preprocess or several_dtypes,
            **attributes,
        )
    )
    return replace(file, cache=str(where))


def _taken(make, file, steps, **settings):
    made = make(file, source_of(file, "train"), Sharding(BATCH, 1, 0, 1), STRATEGY, **settings)
    made.start()
    return [next(made.iterator) for _ in range(steps)]


def _equal(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        tf.nest.assert_same_structure(ours, theirs)
        for one, other in zip(tf.nest.flatten(ours), tf.nest.flatten(theirs), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one.numpy(), other.numpy())


@tf.autograph.experimental.do_not_convert
@pytest.mark.parametrize("where", ["memory", "disk"])
def test_kept_examples_are_those_that_are_made_and_each_is_made_once(tmp_path, where):
    folder = tmp_path if where == "disk" else where
    made = []
    kept = _taken(training_input, _file(folder, made), 12, seed=3)
    _equal(kept, _taken(training_input, _file("none"), 12, seed=3))
    # Twice to see that they are no random ones, once of each for the cache; one that ends an epoch
    # and begins the next is made twice where it is wanted twice before it is there.
    assert len(made) < 16 + 2 * SIZE
    assert not list(tmp_path.iterdir())


@tf.autograph.experimental.do_not_convert
def test_an_evaluation_keeps_its_examples_too():
    made = []
    kept = _taken(evaluation_input, _file("memory", made), 9)
    _equal(kept[:2], _taken(evaluation_input, _file("none"), 2))
    index = np.concatenate([batch[0].numpy() for batch in kept[:3]])
    assert index.tolist() == [*range(10), -1, -1]
    real = [batch[1][1].numpy()[batch[0].numpy() >= 0] for batch in kept[3:6]]
    assert np.concatenate(real).tolist() == list(range(10))
    assert len(made) <= 2 + SIZE + 2  # what only fills up may be made while its record is


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"preprocess": lambda record, training, seed: (record, record)}, "takes a seed"),
        ({"preprocess": lambda record, training: (tf.as_string(record), 0)}, "have texts"),
    ],
)
def test_what_is_another_one_each_time_is_not_kept(settings, reason):
    with pytest.raises(ConfigError, match=reason):
        _taken(training_input, _file("memory", **settings), 1, seed=0)


def test_a_cache_that_does_not_fit_is_refused_with_what_there_is(monkeypatch):
    free = SimpleNamespace(available=2 * SIZE * 22)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    _taken(training_input, _file("memory"), 1, seed=0)
    with pytest.raises(ConfigError, match=r"for 2 caches of 10 examples of 22 bytes"):
        _taken(training_input, replace(_file("memory"), caches=2), 1, seed=0)
