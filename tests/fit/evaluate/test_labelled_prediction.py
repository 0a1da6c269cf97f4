# What several replicas do is in tests/jobs/test_scores.py.
import keras
import numpy as np
import pytest
import tensorflow as tf

from tfscale.data.evaluation_batches import evaluation_input
from tfscale.data.sharding import Sharding
from tfscale.data.sources.dataset_file import DatasetFile
from tfscale.data.sources.source import source_of
from tfscale.errors import ConfigError
from tfscale.fit.evaluate.labelled_prediction import LabelledPrediction, UnwantedOutputs

SIZE, BATCH = 11, 4


@pytest.fixture(autouse=True)
def _forget_layers():
    yield
    keras.backend.clear_session()


def _source(strategy, *, is_stream=False, with_weights=False):
    def load(split):
        records = tf.data.Dataset.range(SIZE)
        return records.filter(lambda number: number >= 0) if is_stream else records

    def preprocess(number, training):
        weight = (1.0,) if with_weights else ()
        return tf.cast([number], tf.float32), {"ten": 10 * number}, *weight

    file = DatasetFile("flowers", load=load, preprocess=preprocess)
    sharding = Sharding(BATCH, 1, 0, strategy.num_replicas_in_sync)
    return evaluation_input(file, source_of(file, "validation"), sharding, strategy)


class Doubling(keras.Model):
    def call(self, x):
        return {"twice": 2.0 * x}


def _prediction(strategy, model=None, is_wanted=lambda outputs: True):
    with strategy.scope():
        return LabelledPrediction(model or Doubling(), strategy, is_wanted)


@pytest.fixture
def strategy():
    return tf.distribute.MirroredStrategy(["CPU:0"])


def _assert_each_once(found):
    outputs, labels = found
    np.testing.assert_array_equal(outputs["twice"], 2.0 * np.arange(SIZE)[:, np.newaxis])
    np.testing.assert_array_equal(labels["ten"], 10 * np.arange(SIZE))


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("with_weights", [False, True])
def test_every_example_is_there_once_and_in_order(strategy, is_stream, with_weights):
    source = _source(strategy, is_stream=is_stream, with_weights=with_weights)
    prediction = _prediction(strategy)
    for _ in range(2):  # the second time from the same iterator, or a new one of a stream
        _assert_each_once(prediction(source))


def test_a_predict_step_of_the_users_own_is_used(strategy):
    class Own(keras.Model):
        def predict_step(self, data):
            x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
            return {"twice": x + x}

    _assert_each_once(_prediction(strategy, Own())(_source(strategy)))


def test_outputs_that_are_not_wanted_are_not_predicted(strategy):
    source, seen = _source(strategy), []

    def is_wanted(outputs):
        seen.append(outputs["twice"].shape)
        return False

    with pytest.raises(UnwantedOutputs):
        _prediction(strategy, is_wanted=is_wanted)(source)
    assert seen[0] == (BATCH // strategy.num_replicas_in_sync, 1)
    _assert_each_once(_prediction(strategy)(source))  # it starts over


def test_an_output_without_a_row_for_each_example_is_refused(strategy):
    class Whole(keras.Model):
        def call(self, x):
            return tf.concat([x, x], axis=0)

    with pytest.raises(ConfigError, match=r"shape \(8, 1\) for 4 examples.*a row for each"):
        _prediction(strategy, Whole())(_source(strategy))
