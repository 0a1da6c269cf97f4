"""`metrics` of a dataset or a model file, of a model that comes uncompiled."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfscale.data.sources.dataset_file import read_dataset_file
from tfscale.errors import ConfigError
from tfscale.model.asked_metrics import read_metrics
from tfscale.model.task import compile_model

X = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 2, 64)
LABELS = tf.TensorSpec([64], tf.int64)


def _compiled(metrics, *, last, task="classification", num_classes=2, labels=LABELS):
    model = keras.Sequential([keras.Input((3,)), last])
    file = SimpleNamespace(
        __name__="mine", load=lambda split: None, task=task, num_classes=num_classes
    )
    asked = read_metrics(metrics, "mine")
    compile_model(model, read_dataset_file(file), labels, keras.optimizers.SGD(), (X, Y), asked)
    return model


def _scores(model, y):
    return model.evaluate(X, y, batch_size=16, verbose=0, return_dict=True)


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_an_area_under_the_curve_is_that_of_probabilities(activation):
    made = keras.metrics.AUC(name="auc")
    model = _compiled([made], last=layers.Dense(1, activation=activation))
    found = _scores(model, Y)
    chances = model.predict(X, verbose=0)
    chances = chances if activation else tf.sigmoid(chances)
    expected = keras.metrics.AUC(name="auc")
    expected.update_state(Y[:, None], chances)
    assert found["auc"] == pytest.approx(float(expected.result()), abs=1e-3)
    assert made not in model.metrics  # it was made outside of the replicas
    assert "accuracy" in found


def test_an_overlap_and_a_name_stand_beside_the_metric_of_the_task():
    file = [
        keras.metrics.MeanIoU(2, sparse_y_pred=False, name="iou"),
        "accuracy",
        "sparse_categorical_crossentropy",
    ]
    model = _compiled(file, last=layers.Dense(2))
    found = _scores(model, Y)
    assert set(found) == {"loss", "accuracy", "iou", "sparse_categorical_crossentropy"}
    expected = keras.metrics.MeanIoU(2)
    expected.update_state(Y, model.predict(X, verbose=0).argmax(-1))
    assert found["iou"] == pytest.approx(float(expected.result()), abs=1e-6)


def test_a_score_of_several_labels_is_that_of_probabilities():
    y = np.stack([Y, 1 - Y], axis=1).astype(np.float32)
    model = _compiled(
        lambda: [keras.metrics.F1Score(threshold=0.5, average="macro")],
        last=layers.Dense(2, "sigmoid"),
        task="multilabel",
        labels=tf.TensorSpec([64, 2], tf.float32),
    )
    expected = keras.metrics.F1Score(threshold=0.5, average="macro")
    expected.update_state(y, model.predict(X, verbose=0))
    assert _scores(model, y)["f1_score"] == pytest.approx(float(expected.result()), abs=1e-6)


@pytest.mark.parametrize(
    "metric",
    [
        keras.metrics.Precision(),
        keras.metrics.Recall(thresholds=[0.5]),
        keras.metrics.BinaryAccuracy(name="half"),
        keras.metrics.F1Score(threshold=0.5),
        keras.metrics.PrecisionAtRecall(0.5),
        keras.metrics.BinaryIoU(),
    ],
    ids=lambda metric: type(metric).__name__,
)
def test_thresholds_of_probabilities_are_refused_for_logits(metric):
    _compiled([metric], last=layers.Dense(1, activation="sigmoid"))
    name = type(metric).__name__
    with pytest.raises(ConfigError, match=f"{name} of `metrics` holds probabilities .* sigmoid"):
        _compiled([metric], last=layers.Dense(1))


class Unsaid(keras.metrics.Mean):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor


def test_what_cannot_be_made_anew_is_refused():
    with pytest.raises(ConfigError, match="Unsaid of `metrics` can't be made anew"):
        _compiled([Unsaid(2.0)], last=layers.Dense(2))


@pytest.mark.parametrize("metrics", ["auc", [3], {"a": "auc"}, lambda: 3])
def test_anything_else_is_refused(metrics):
    with pytest.raises(ConfigError, match="mine has metrics = .* expected a list of names and"):
        read_metrics(metrics, "mine")


def test_a_function_that_fails_is_named():
    with pytest.raises(ConfigError, match=r"mine: metrics\(\) raised ZeroDivisionError"):
        read_metrics(lambda: 1 / 0, "mine")
