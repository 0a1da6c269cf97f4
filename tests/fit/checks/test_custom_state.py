"""Variables of somebody's own layers: averaged where that is right, refused where it is wrong."""

import contextlib
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.fit.checks.build import build_steps
from tfscale.fit.checks.custom_state import averaged

TWO_REPLICAS = SimpleNamespace(scope=contextlib.nullcontext, num_replicas_in_sync=2)
SPEC = tf.TensorSpec((4, 3), tf.float32), tf.TensorSpec((4, 2), tf.float32)
FIRST = tf.constant(np.random.default_rng(0).normal(size=(8, 3)), tf.float32), tf.ones([8, 2])


class Keeps(keras.layers.Layer):
    """Assigns what `change` makes of the old value and the batch."""

    def __init__(self, change, dtype="float32", shape=()):
        super().__init__()
        self.change = change
        self.kept = self.add_weight(
            shape=shape, dtype=dtype, initializer="ones", trainable=False, name="kept"
        )
        self.table = self.add_weight(shape=(3,), trainable=False, name="table")

    def call(self, x, training=False):
        if training and self.change:
            self.kept.assign(self.change(self.kept, x))
        return x + self.table


def _found(change, replicas=2, **kept):
    keeps = Keeps(change, **kept)
    model = keras.Sequential([keras.Input((3,)), keeps, keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    steps = build_steps(model, SPEC, TWO_REPLICAS)
    before = [weight.numpy() for weight in model.weights]
    near = averaged(model, FIRST, steps.own_state, replicas=replicas)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)
    return near, steps


def test_what_no_step_assigns_is_not_tried():
    near, steps = _found(None)
    assert near == [] and steps.own_state == []


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        (lambda old, x: 0.9 * old + 0.1 * keras.ops.mean(x, axis=0), {"shape": (3,)}),
        (lambda old, x: old * 0.99, {}),
        (lambda old, x: old + 1, {"dtype": "int32"}),
    ],
    ids=["mean", "decay", "steps"],
)
def test_a_mean_over_replicas_that_is_right_is_nothing_to_say(change, kept):
    near, steps = _found(change, **kept)
    assert near == [] and [one.name for one in steps.own_state] == ["kept"]


def test_a_mean_that_is_only_near_is_named():
    near, steps = _found(lambda old, x: 0.9 * old + 0.1 * keras.ops.var(x, axis=0), shape=(3,))
    assert near == [steps.own_state[0].path]


@pytest.mark.parametrize(
    ("change", "kept", "what"),
    [
        (lambda old, x: old + keras.ops.shape(x)[0], {"dtype": "int32"}, "a sum over examples"),
        (lambda old, x: old + keras.ops.sum(x), {}, "a sum over examples"),
        (
            lambda old, x: keras.ops.cast(keras.ops.argmax(x[:, 0]), "int32"),
            {"dtype": "int32"},
            "not the same for each replica",
        ),
    ],
    ids=["count", "total", "position"],
)
def test_what_a_mean_would_spoil_is_refused_by_name(change, kept, what):
    with pytest.raises(ConfigError, match=f"/kept, which is {what}"):
        _found(change, **kept)
    assert _found(change, replicas=1, **kept)[0] == []


def test_a_step_that_fails_on_a_few_examples_is_refused():
    with pytest.raises(ConfigError, match="trying it on 4 examples raised"):
        _found(lambda old, x: keras.ops.reshape(x, (2, 6))[0, 0])
