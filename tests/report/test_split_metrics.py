from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfscale.cluster.cluster import Cluster
from tfscale.data.evaluation_batches import evaluation_input
from tfscale.data.sharding import Sharding
from tfscale.data.sources.dataset_file import DatasetFile
from tfscale.data.sources.source import source_of
from tfscale.model.mean_average_precision import of_labels
from tfscale.report.split_metrics import WholeScores
from tfscale.startup.board import Board

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(13, 6)).astype("float32")
Y = (RANDOM.uniform(size=(13, 3)) < 0.4).astype("float32")
NAME = "val_mean_average_precision"


@pytest.fixture(autouse=True)
def _forget_layers():
    yield
    keras.backend.clear_session()


def _model(outputs=3):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(outputs)])
    model.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    return model


def _scores(model, task="multilabel", splits=("validation", "test")):
    """What a job of one worker has, and what it shows."""

    def load(split):
        return tf.data.Dataset.from_tensor_slices((X, Y))

    file = DatasetFile("flowers", load=load, task=task)
    strategy = tf.distribute.get_strategy()
    inputs = {
        split: evaluation_input(file, source_of(file, split), Sharding(4, 1, 0, 1), strategy)
        for split in splits
    }
    shown = []
    job = SimpleNamespace(
        strategy=strategy,
        board=Board(Cluster(), print),
        cluster=Cluster(),
        terminal=SimpleNamespace(show=shown.append),
    )
    spec = (tf.TensorSpec((4, 6)), tf.TensorSpec((4, 3)))
    data = SimpleNamespace(evaluated=inputs, file=file, training=SimpleNamespace(spec=spec))
    return WholeScores(job, SimpleNamespace(data=data, model=model)), shown


def _fit(model, *callbacks, epochs=2):
    arrays = {"x": X, "y": Y, "validation_data": (X, Y)}
    return model.fit(**arrays, epochs=epochs, verbose=0, callbacks=list(callbacks)).history


def test_each_epoch_has_the_figure_of_its_own_weights():
    model, expected = _model(), []
    scores, _ = _scores(model)

    def judge(epoch, logs):
        expected.append(of_labels(model.predict(X, verbose=0), Y)["mean_average_precision"])

    history = _fit(
        model, scores.of("validation"), keras.callbacks.LambdaCallback(on_epoch_end=judge)
    )
    assert history[NAME] == pytest.approx(expected, abs=1e-9)
    assert 0.0 < history[NAME][0] < 1.0


def test_what_watches_a_figure_sees_it(tmp_path):
    model = _model()
    scores, _ = _scores(model)
    stop = keras.callbacks.EarlyStopping(NAME, mode="max", patience=1, min_delta=2.0)
    path = str(tmp_path / "{epoch}.weights.h5")
    only = {"save_best_only": True, "save_weights_only": True}
    best = keras.callbacks.ModelCheckpoint(path, NAME, mode="max", **only)
    history = _fit(model, scores.of("validation"), stop, best, epochs=9)
    assert len(history[NAME]) == 2
    assert (tmp_path / "1.weights.h5").exists()


def test_an_evaluation_leaves_its_figures():
    model = _model()
    scores, _ = _scores(model)
    of_test = scores.of("test")
    model.evaluate(X, Y, verbose=0, callbacks=[of_test])
    assert of_test.figures == of_labels(model.predict(X, verbose=0), Y)


def test_a_split_that_is_not_there_has_none():
    model = _model()
    scores, _ = _scores(model, splits=("test",))
    assert NAME not in _fit(model, scores.of("validation"), epochs=1)


def test_the_plan_says_what_is_measured():
    assert list(_scores(_model())[0].rows) == ["mean average precision"]
    assert _scores(_model(), task="regression")[0].rows == {}
    assert _scores(_model(), splits=())[0].rows == {}


def test_a_task_without_a_measure_is_left_alone():
    model = _model()
    scores, shown = _scores(model, task="regression")
    assert NAME not in _fit(model, scores.of("validation"))
    assert not shown


def test_outputs_for_which_it_is_not_defined_are_named_once():
    model = _model()
    scores, shown = _scores(model)
    wider = keras.Sequential([model, keras.layers.Dense(5)])
    scores, shown = _scores(wider)
    wider.compile("sgd", loss=lambda y, p: keras.ops.mean(p**2, axis=-1))
    assert NAME not in _fit(wider, scores.of("validation"))
    assert shown == ["No mean average precision: predict doesn't give 3 numbers for each example."]
    assert scores.rows == {}
