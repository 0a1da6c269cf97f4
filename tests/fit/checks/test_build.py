"""What a model's steps do is found out before the first one is taken."""

import contextlib
from types import SimpleNamespace

import keras
import pytest
import tensorflow as tf

from tfscale.fit.checks.build import build_steps

TWO_REPLICAS = SimpleNamespace(scope=contextlib.nullcontext, num_replicas_in_sync=2)
DENSE = tf.TensorSpec((4, 3), tf.float32), tf.TensorSpec((4,), tf.int64)
WORDS = tf.TensorSpec((4, 5), tf.int32), tf.TensorSpec((4, 5), tf.int64)
WEIGHTED = (*DENSE, tf.TensorSpec((4,), tf.float32))


class ByHand(keras.Model):
    """A step of its own with a mean over weights."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(4)

    def call(self, x):
        return self.dense(x)

    def train_step(self, data):
        x, y, weight = data
        with tf.GradientTape() as tape:
            target = tf.one_hot(y, 4)
            loss = keras.losses.MeanSquaredError("mean_with_sample_weight")(
                target, self(x), sample_weight=weight
            )
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}


def _dense(**of_loss):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True, **of_loss))
    return model


def _words(*, mask_zero):
    words = keras.layers.Embedding(9, 4, mask_zero=mask_zero)
    tags = keras.layers.GRU(4, return_sequences=True)
    model = keras.Sequential([keras.Input((5,), dtype="int32"), words, tags])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def _by_hand():
    model = ByHand()
    model.compile("sgd")
    return model


@pytest.mark.parametrize(
    ("make", "spec", "asks"),
    [
        (_dense, DENSE, 0),
        (_dense, WEIGHTED, 0),
        (lambda: _dense(ignore_class=3), DENSE, 1),
        (lambda: _dense(reduction="mean_with_sample_weight"), WEIGHTED, 1),
        (lambda: _words(mask_zero=True), WORDS, 1),
        (lambda: _words(mask_zero=False), WORDS, 0),
        (_by_hand, WEIGHTED, 1),
    ],
)
def test_the_denominators_that_only_all_replicas_know_are_counted(make, spec, asks):
    assert build_steps(make(), spec, TWO_REPLICAS).asks == asks


def test_keras_step_is_not_tried_where_there_is_one_replica(monkeypatch):
    monkeypatch.setattr("tfscale.fit.checks.build.trace_symbolically", None)
    assert build_steps(_words(mask_zero=True), WORDS, tf.distribute.get_strategy()).asks == 0
