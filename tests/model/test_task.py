from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfscale.data.sources.dataset_file import read_dataset_file
from tfscale.errors import ConfigError
from tfscale.model.task import compile_model

BATCH = 8
SPARSE = tf.TensorSpec([BATCH], tf.int64)
ONE_HOT = tf.TensorSpec([BATCH, 4], tf.float32)
X = tf.random.stateless_normal([BATCH, 3], seed=(1, 2))
Y = tf.zeros([BATCH], tf.int64)
NUMBER = tf.TensorSpec([BATCH], tf.float32)


def _compiled(*last, labels=SPARSE, task="classification", num_classes=4, model=None):
    dataset = read_dataset_file(
        SimpleNamespace(
            __name__="flowers", load=lambda split: None, task=task, num_classes=num_classes
        )
    )
    if model is None:
        model = keras.Sequential([keras.Input((3,)), *last])
    compile_model(model, dataset, labels, keras.optimizers.SGD(), (X, Y))
    return model


def _refusal(*args, **kwargs):
    with pytest.raises(ConfigError) as caught:
        _compiled(*args, **kwargs)
    return str(caught.value)


@pytest.mark.parametrize(
    ("task", "labels", "units", "loss", "metric"),
    [
        (
            "classification",
            SPARSE,
            4,
            keras.losses.SparseCategoricalCrossentropy,
            keras.metrics.SparseCategoricalAccuracy,
        ),
        (
            "classification",
            ONE_HOT,
            4,
            keras.losses.CategoricalCrossentropy,
            keras.metrics.CategoricalAccuracy,
        ),
        ("multilabel", ONE_HOT, 4, keras.losses.BinaryCrossentropy, keras.metrics.BinaryAccuracy),
        ("regression", NUMBER, 1, keras.losses.MeanSquaredError, keras.metrics.MeanAbsoluteError),
    ],
)
def test_every_task_has_the_loss_and_the_metric_of_its_labels(task, labels, units, loss, metric):
    model = _compiled(layers.Dense(units), task=task, labels=labels)
    assert type(model.loss) is loss
    assert [type(given) for given in model._compile_metrics._user_metrics] == [metric]


def test_two_classes_with_one_output_are_told_apart_by_its_sign():
    model = _compiled(layers.Dense(1), num_classes=2)
    assert type(model.loss) is keras.losses.BinaryCrossentropy
    (metric,) = model._compile_metrics._user_metrics
    assert metric.threshold == 0.0


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_what_a_model_is_compiled_with_is_an_optimizer_of_the_config(task):
    labels = {"classification": SPARSE, "multilabel": ONE_HOT, "regression": NUMBER}[task]
    units = 1 if task == "regression" else 4
    model = _compiled(layers.Dense(units), task=task, labels=labels)
    assert type(model.optimizer) is keras.optimizers.SGD
    assert model.compiled
    assert not model.jit_compile


PROBABILITIES = [
    [layers.Dense(4, activation="softmax")],
    [layers.Dense(4), layers.Softmax()],
    [layers.Dense(4), layers.Activation("softmax", dtype="float32")],
    [layers.Dense(4, activation="sigmoid")],
    [layers.Dense(4, activation="sparsemax")],
    [layers.Dense(4, activation="softmax"), layers.Dropout(0.1)],
    [layers.Reshape((1, 3)), layers.TimeDistributed(layers.Dense(4, "softmax")), layers.Flatten()],
]


@pytest.mark.parametrize("last", PROBABILITIES)
@pytest.mark.parametrize("labels", [SPARSE, ONE_HOT])
def test_an_output_of_probabilities_is_taken_as_such(last, labels):
    last = [layer.from_config(layer.get_config()) for layer in last]
    assert not _compiled(*last, labels=labels).loss.from_logits


@pytest.mark.parametrize("labels", [SPARSE, ONE_HOT])
@pytest.mark.parametrize("activation", [None, "linear", "relu", "log_softmax"])
def test_any_other_output_is_taken_as_logits(activation, labels):
    assert _compiled(layers.Dense(4, activation=activation), labels=labels).loss.from_logits


@pytest.mark.parametrize(
    ("activation", "from_logits", "threshold"), [(None, True, 0.0), ("sigmoid", False, 0.5)]
)
def test_several_labels_are_right_above_the_threshold_of_their_output(
    activation, from_logits, threshold
):
    model = _compiled(layers.Dense(4, activation=activation), task="multilabel", labels=ONE_HOT)
    (metric,) = model._compile_metrics._user_metrics
    assert model.loss.from_logits == from_logits
    assert metric.threshold == threshold


@pytest.mark.parametrize("labels", [SPARSE, ONE_HOT])
def test_more_outputs_than_classes_are_refused_with_both_numbers(labels):
    message = _refusal(layers.Dense(7), labels=labels)
    assert "The model gives 7 outputs for each example" in message
    assert "num_classes = 4" in message
    assert "Use num_classes in build" in message
    assert labels.dtype.name in message


def test_one_output_for_ten_classes_is_refused():
    assert "gives 1 outputs" in _refusal(layers.Dense(1), num_classes=10)


def test_more_outputs_than_numbers_to_predict_are_refused():
    # Without a word the one number would be compared with all of the three.
    labels = tf.TensorSpec([BATCH, 1], tf.float32)
    assert "gives 3 outputs" in _refusal(layers.Dense(3), task="regression", labels=labels)


def test_one_output_for_ten_classes_is_refused_also_where_labels_stand_in_a_column():
    labels = tf.TensorSpec([BATCH, 1], tf.int64)
    assert "gives 1 outputs" in _refusal(layers.Dense(1), num_classes=10, labels=labels)


def test_classes_that_are_not_counted_are_as_many_as_the_outputs():
    model = _compiled(layers.Dense(7), num_classes=None)
    assert type(model.loss) is keras.losses.SparseCategoricalCrossentropy


def test_a_model_that_is_not_built_yet_gets_the_loss_of_its_labels():
    class Late(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(4)

        def call(self, x):
            return self.dense(x)

    model = _compiled(model=Late())
    assert type(model.loss) is keras.losses.SparseCategoricalCrossentropy
    assert model.loss.from_logits


def test_a_model_that_is_not_built_yet_is_held_to_the_labels_too():
    class Late(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(7)

        def call(self, x):
            return self.dense(x)

    assert "gives 7 outputs" in _refusal(model=Late())


def test_one_number_without_an_axis_is_one_output():
    inputs = keras.Input((3,))
    numbers = layers.Dense(1, "sigmoid")(inputs)[:, 0]
    model = _compiled(model=keras.Model(inputs, numbers), num_classes=2)
    assert type(model.loss) is keras.losses.BinaryCrossentropy
    assert not model.loss.from_logits


@pytest.mark.parametrize("labels", [(2, 3), (2, 3, 1)])
def test_each_pixel_or_token_has_a_class(labels):
    inputs = keras.Input((3,))
    pixels = layers.Reshape((2, 3, 4))(layers.Dense(24)(inputs))
    model = _compiled(
        model=keras.Model(inputs, layers.Softmax()(pixels)),
        labels=tf.TensorSpec([BATCH, *labels], tf.int64),
    )
    assert type(model.loss) is keras.losses.SparseCategoricalCrossentropy
    assert not model.loss.from_logits
    assert model.evaluate(X, tf.zeros([BATCH, *labels], tf.int64), verbose=0)[0] > 0


def test_a_model_that_fails_for_the_data_is_refused_with_its_error():
    class Broken(keras.Model):
        def call(self, x):
            raise RuntimeError("no such thing")

    message = _refusal(model=Broken())
    assert "The model doesn't fit the data" in message
    assert "no such thing" in message


def test_what_the_loss_is_told_in_words():
    def told(last, **arguments):
        dataset = read_dataset_file(
            SimpleNamespace(__name__="mine", load=lambda split: None, **arguments)
        )
        model = keras.Sequential([keras.Input((3,)), last])
        labels = NUMBER if "task" in arguments else SPARSE
        return compile_model(model, dataset, labels, keras.optimizers.SGD(), (X, Y))

    classes = "SparseCategoricalCrossentropy of"
    assert told(layers.Dense(4)) == f"{classes} logits (by its last layer)"
    tried = told(layers.Dense(4, activation=tf.nn.softmax))
    assert tried == f"{classes} probabilities (tried on 8 examples)"
    assert told(layers.Dense(1), task="regression") == "MeanSquaredError"


def test_a_task_without_a_default_asks_for_a_compiled_model():
    message = _refusal(layers.Dense(4), task="detection")
    assert "flowers has task 'detection', for which there is no default loss" in message
    assert "model.compile(optimizer, loss, metrics)" in message


def test_several_labels_in_a_structure_ask_for_a_compiled_model():
    message = _refusal(layers.Dense(4), labels={"colour": SPARSE, "kind": SPARSE})
    assert "flowers has several labels" in message


def test_the_loss_of_a_regression_is_the_mean_square():
    model = _compiled(layers.Dense(1, kernel_initializer="zeros"), task="regression", labels=NUMBER)
    results = model.evaluate(tf.zeros([2, 3]), tf.constant([1.0, 3.0]), verbose=0, return_dict=True)
    assert results == pytest.approx({"loss": 5.0, "mae": 2.0})


# With as many examples as outputs the label would look like a number for each class.
@pytest.mark.parametrize("units", [4, BATCH])
@pytest.mark.parametrize("dtype", ["float32", "bool"])
def test_a_label_that_is_no_number_of_a_class_is_named(units, dtype):
    labels = tf.TensorSpec([BATCH], dtype)
    message = _refusal(layers.Dense(units), num_classes=units, labels=labels)
    assert f"flowers has the label {dtype}, one for each example" in message
    assert "tf.cast(y, tf.int64)" in message


@pytest.mark.parametrize("task", ["classification", "regression", "multilabel"])
@pytest.mark.parametrize("units", [1, 4])
def test_texts_as_labels_are_called_so(task, units):
    labels = tf.TensorSpec([BATCH], tf.string)
    message = _refusal(layers.Dense(units), num_classes=units, task=task, labels=labels)
    assert message.startswith("flowers has texts as labels; expected numbers.")


def test_a_regression_says_how_many_numbers_a_label_has():
    labels = tf.TensorSpec([BATCH, 2], tf.float32)
    message = _refusal(layers.Dense(3), task="regression", labels=labels)
    assert "as many as a label has numbers, 2. End the model in Dense(2)." in message


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_a_weight_for_each_label_is_one_of_its_term(activation):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (BATCH, 4)).astype(np.float32)
    weights = rng.random((BATCH, 4)).astype(np.float32)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, activation=activation)])
    file = SimpleNamespace(__name__="tags", load=lambda split: None, task="multilabel")
    compile_model(model, read_dataset_file(file), ONE_HOT, keras.optimizers.SGD(), (X, y, weights))
    found = model.evaluate(X, y, sample_weight=weights, verbose=0, return_dict=True)["loss"]
    given = model(X) if activation else tf.sigmoid(model(X))
    terms = -(y * np.log(given) + (1 - y) * np.log(1 - given))
    assert found == pytest.approx(float(np.mean(weights * terms)), rel=1e-5)
    unweighted = model.evaluate(X, y, verbose=0, return_dict=True)["loss"]
    plain = keras.losses.BinaryCrossentropy(from_logits=not activation)(y, model(X))
    assert unweighted == pytest.approx(float(plain), rel=1e-5)


def test_pixels_that_weigh_nothing_count_nowhere():
    model = keras.Sequential([keras.Input((4, 4, 1)), layers.Conv2D(3, 1)])
    x = np.random.default_rng(0).random((BATCH, 4, 4, 1)).astype(np.float32)
    y, weights = np.zeros((BATCH, 4, 4), np.int64), np.ones((BATCH, 4, 4), np.float32)
    weights[:, 2:] = 0
    y[:, 2:] = model.predict(x, verbose=0).argmax(-1)[:, 2:]  # all right, and void
    labels = tf.TensorSpec([BATCH, 4, 4], tf.int64)
    file = SimpleNamespace(__name__="pixels", load=lambda split: None, num_classes=3)
    compile_model(model, read_dataset_file(file), labels, keras.optimizers.SGD(), (x, y, weights))
    found = model.evaluate(x, y, sample_weight=weights, verbose=0, return_dict=True)
    right = (model.predict(x, verbose=0).argmax(-1) == y)[:, :2].mean()
    assert found["accuracy"] == pytest.approx(right, abs=1e-6)
