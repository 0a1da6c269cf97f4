"""What a model's steps do is found out before the first one is taken."""

import contextlib
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.fit.checks.build import build_steps, require_fit

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


def _image_spec(size, classes=()):
    return tf.TensorSpec((4, size, size, 3)), tf.TensorSpec((4, *classes), tf.int64)


def _images(size, *, ends):
    layers = keras.layers
    inner = [layers.Flatten()] if ends == "flat" else [layers.GlobalAveragePooling2D()]
    model = keras.Sequential([keras.Input((size, size, 3)), layers.Conv2D(2, 3), *inner])
    model.add(layers.Dense(4))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    build_steps(model, _image_spec(8), TWO_REPLICAS)
    return model


def test_a_split_that_the_model_does_not_take_is_named_with_both_shapes():
    model = _images(8, ends="flat")
    values = [one.numpy() for one in model.variables]
    require_fit(model, {"validation": _image_spec(8)}, _image_spec(8), TWO_REPLICAS)
    with pytest.raises(ConfigError) as caught:
        require_fit(model, {"test": _image_spec(9)}, _image_spec(8), TWO_REPLICAS)
    message = str(caught.value)
    assert message.startswith("The model doesn't fit the split 'test': ")
    assert "float32(9, 9, 3), int64())" in message and "float32(8, 8, 3), int64())" in message
    for one, value in zip(model.variables, values, strict=True):
        np.testing.assert_array_equal(one.numpy(), value)  # nothing has been taken


def test_a_split_of_other_shapes_that_the_model_takes_is_fine():
    model = _images(None, ends="pooled")
    require_fit(model, {"validation": _image_spec(9)}, _image_spec(8), TWO_REPLICAS)


def test_a_split_without_labels_of_the_models_kind_is_refused():
    model = _images(8, ends="pooled")
    with pytest.raises(ConfigError, match="doesn't fit the split 'validation'"):
        require_fit(model, {"validation": _image_spec(8, (3, 2))}, _image_spec(8), TWO_REPLICAS)
