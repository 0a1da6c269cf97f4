"""The stage that a step waits for is named, with what helps."""

import time
from types import SimpleNamespace

import pytest
import tensorflow as tf

from tfscale.data import stage_times
from tfscale.data.sharding import Sharding
from tfscale.data.sources.dataset_file import read_dataset_file
from tfscale.data.sources.source import source_of
from tfscale.data.stage_times import Stages, measure
from tfscale.data.training_batches import training_input


@pytest.mark.parametrize(
    ("rates", "cause"),
    [
        ((100.0, 99.0, 98.0), "reading"),
        ((1000.0, 100.0, 99.0), "preprocessing"),
        ((1000.0, 900.0, 100.0), "batching"),
        ((5000.0, 4000.0, 3000.0), "start"),
    ],
)
def test_the_stage_that_costs_most_is_the_cause(rates, cause):
    stages = Stages(dict(zip(("reading", "preprocessing", "batching"), rates, strict=True)), 1000.0)
    assert stages.cause == cause
    assert ("is the slowest stage" in stages.hint) == (cause != "start")


def _slow(seconds):
    def wait(record):
        time.sleep(seconds)
        return record

    return lambda n: tf.ensure_shape(tf.numpy_function(wait, [n], tf.int64), [])


@pytest.mark.parametrize("slow", ["reading", "preprocessing"])
def test_a_slow_stage_is_found_in_a_real_input(slow, monkeypatch):
    monkeypatch.setattr(stage_times, "_SECONDS", 0.1)
    wait = _slow(0.002)

    def load(split):
        numbers = tf.data.Dataset.range(500)
        return numbers.map(wait) if slow == "reading" else numbers

    def preprocess(record, training):
        number = wait(record) if slow == "preprocessing" else record
        return tf.cast([number], tf.float32), number % 2

    file = read_dataset_file(SimpleNamespace(__name__="mine", load=load, preprocess=preprocess))
    strategy = tf.distribute.get_strategy()
    made = training_input(file, source_of(file, "train"), Sharding(8, 1, 0, 1), strategy, seed=0)
    found = measure(made, taken=1e6)
    assert list(found.rates) == ["reading", "preprocessing", "batching"]
    assert found.cause == slow
