import keras
import numpy as np
import pytest
import tensorflow as tf

from tfscale.fit.guards.finite_weights import FiniteWeights, is_finite


@pytest.fixture
def model():
    mask = keras.layers.Normalization(mean=0.0, variance=1.0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), mask])
    model.add(keras.layers.BatchNormalization())
    return model


def _watch(model):
    return FiniteWeights(model, tf.distribute.get_strategy())


def _arrays(model):
    return {f"model/{number:04d}/x": one.numpy() for number, one in enumerate(model.weights)}


def test_finite_weights_are_finite(model):
    watch = _watch(model)
    assert watch.first_bad() == "" == watch.first_bad_of(_arrays(model))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_first_bad_weight_is_named_whether_or_not_it_is_trained(model, value):
    watch = _watch(model)
    model.layers[-1].moving_mean.assign([0.0, value])
    assert watch.first_bad().endswith("moving_mean")
    assert watch.first_bad_of(_arrays(model)).endswith("moving_mean")
    model.layers[0].kernel.assign([[0.0, value], [0.0, 0.0]])
    assert watch.first_bad().endswith("kernel")
    assert watch.first_bad_of(_arrays(model)).endswith("kernel")


def test_a_constant_that_never_was_finite_is_left_out(model):
    model.layers[-1].moving_mean.assign([0.0, -np.inf])
    assert _watch(model).first_bad() == ""


def test_what_is_trained_has_to_be_finite_from_the_beginning(model):
    model.layers[0].bias.assign([0.0, np.nan])
    assert _watch(model).first_bad().endswith("bias")


def test_numbers_of_sixteen_bits_are_looked_at():
    assert is_finite(tf.constant([1.0], tf.bfloat16))
    assert not is_finite(tf.constant([np.nan], tf.bfloat16))
