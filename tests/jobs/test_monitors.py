"""A figure that a callback names and that never comes is told before the first step."""

import json
import re
import sys

import pytest

from tests.jobs.test_bad_input import _contains, _refusal, _shared_reason
from tests.jobs.workers import start_all, worker_commands, written

pytestmark = [pytest.mark.long, pytest.mark.promise("monitors")]

MODEL = """
    import keras
    from keras import layers, ops

    monitor = ""

    def callbacks():
        return [keras.callbacks.EarlyStopping(monitor, mode="max")] if monitor else []

    def network(spec):
        return keras.Sequential(
            [keras.Input(spec.shape), layers.Flatten(), layers.Dense(6), layers.Dense(10)]
        )

    LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def build(spec, num_classes):
        return network(spec)
"""
COMPILED = """
    def build(spec, num_classes):
        model = network(spec)
        model.compile("sgd", LOSS, metrics=["accuracy"], weighted_metrics=["accuracy"])
        return model
"""
TWO_OUTPUTS = """
    def build(spec, num_classes):
        x = keras.Input(spec.shape)
        flat = layers.Flatten()(x)
        outputs = {"a": layers.Dense(10, name="a")(flat), "b": layers.Dense(10, name="b")(flat)}
        model = keras.Model(x, outputs)
        metrics = {"a": ["accuracy"], "b": [keras.metrics.SparseTopKCategoricalAccuracy(2)]}
        model.compile("sgd", {"a": LOSS, "b": LOSS}, metrics=metrics)
        return model
"""
TWICE = """
    import tensorflow as tf
    from datasets import digits

    num_classes = 10

    def load(split):
        return digits.load(split).take(96 if split == "train" else 32)

    def preprocess(record, training):
        x, y = digits.preprocess(record, training)
        return x, {"a": y, "b": y}
"""
OWN_STEPS = """
    class Own(keras.Model):
        def train_step(self, data):
            logs = super().train_step(data)
            return {"loss": logs["loss"], "inner": {"doubled": 2.0 * logs["loss"]}}

        def test_step(self, data):
            super().test_step(data)
            return {"tested": ops.ones(())}

    def build(spec, num_classes):
        x = keras.Input(spec.shape)
        model = Own(x, layers.Dense(10)(layers.Flatten()(x)))
        model.compile("sgd", LOSS, metrics=["accuracy"])
        return model
"""
REGRESSION = """
    import numpy as np
    import tensorflow as tf

    task = "regression"

    def load(split):
        x = np.random.default_rng(0).random((96, 4), dtype=np.float32)
        return tf.data.Dataset.from_tensor_slices((x, x.sum(1, keepdims=True)))
"""
MULTILABEL = """
    import numpy as np
    import tensorflow as tf

    task, num_classes = "multilabel", 3

    def load(split):
        x = np.random.default_rng(0).random((96, 3), dtype=np.float32)
        return tf.data.Dataset.from_tensor_slices((x, (x > 0.5).astype("int64")))
"""
SMALL = """
    def build(spec, num_classes=1):
        return keras.Sequential([keras.Input(spec.shape), layers.Dense(num_classes or 1)])
"""
DETECTOR = "    from models.detector import build\n"
# By name: what the model file has beside MODEL, the dataset file (None: digits), and names that
# are known to be among the figures.
NAMED = {
    "weighted metrics": (COMPILED, None, {"weighted_accuracy", "val_weighted_accuracy"}),
    "two outputs": (TWO_OUTPUTS, TWICE, {"a_loss", "a_accuracy", "val_b_loss"}),
    "own steps": (OWN_STEPS, None, {"loss", "doubled", "val_tested"}),
    "regression": (SMALL, REGRESSION, {"mae", "val_mae"}),
    "multilabel": (SMALL, MULTILABEL, {"val_mean_average_precision"}),
}
# Not trained here, which takes a while: these are the figures of its scene in test_scores.
OF_DETECTOR = {"loss", "val_loss"} | {
    f"val_{name}"
    for name in ("mean_average_precision", "average_precision_50", "average_precision_75")
}
F1 = """
    class F1(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            {adds}
"""
ADDS = F1.format(adds="logs['val_f1'] = 0.5")
FORGETS = F1.format(adds="pass")
STOPS = "keras.callbacks.EarlyStopping({0!r}, min_delta=9.0, patience=1, mode='max')"
SAVES = "keras.callbacks.ModelCheckpoint({0})"
RATE = "keras.callbacks.LearningRateScheduler(lambda epoch: 0.1)"


def _callbacks(*made):
    return f"    def callbacks():\n        return [{', '.join(made)}]\n"


# By name: what the model file has beside MODEL, and settings.
TRAINED = {
    "own figure": (ADDS + _callbacks("F1()", STOPS.format("val_f1")), {}),
    "forgotten figure": (
        FORGETS
        + _callbacks(
            *("F1()", STOPS.format("val_f1")),
            SAVES.format("'{0}/{batch}.keras', 'loss', save_best_only=True, save_freq=1"),
        ),
        {},
    ),
    "rate and path": (
        _callbacks(
            *(RATE, STOPS.format("learning_rate")),
            SAVES.format("'{0}/{epoch:02d}-{val_accuracy:.1f}.keras'"),
        ),
        {"schedule": "constant", "warmup_fraction": 0.0},
    ),
    "forgotten in a path": (
        FORGETS + _callbacks("F1()", SAVES.format("'{0}/{val_f1}.keras'")),
        {},
    ),
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """The report of each training, or the reason for which it ended; and its folder."""
    folder = tmp_path_factory.mktemp("trainings")
    jobs = []

    def add(name, text, settings, dataset=None):
        path = written(folder / f"{name.replace(' ', '_')}.py", MODEL, text)
        jobs.append({"name": name, "model": path, "settings": settings, "dataset": dataset})

    for name, (text, dataset, _) in NAMED.items():
        if dataset and "\n" in dataset:
            dataset = written(folder / f"{name.replace(' ', '_')}_data.py", dataset)
        settings = {"epochs": 1, "steps_per_epoch": 1}
        add(name, text, settings, dataset)
        add(f"{name}?", text, settings | {"model_option": ["monitor=?"]}, dataset)
    settings = {"dataset_option": ["size=64"], "model_option": ["monitor=?"]}
    add("detector?", DETECTOR, settings, "datasets/shapes.py")
    for name, (text, settings) in TRAINED.items():
        add(name, text.replace("{0}", str(folder / f"of {name}")), {"epochs": 3, **settings})
    (folder / "jobs.json").write_text(json.dumps(jobs))
    command = [sys.executable, "-m", "tests.jobs.trainings"]
    command += [str(folder / "jobs.json"), str(folder / "out.json")]
    (worker,) = start_all([command], deadline_seconds=300)
    assert worker.code == 0, worker.err[-3000:]
    return folder, json.loads((folder / "out.json").read_text()), worker.err


def _listed(refused):
    """The names that the refusal of a monitor lists."""
    assert refused["code"] == 2
    _contains(refused["reason"], "EarlyStopping(monitor='?'), but there will be no '?' in the logs")
    return set(re.search(r"expected one of (.*?)\.(?: |$)", refused["reason"])[1].split(", "))


def test_the_scores_of_whole_splits_are_among_the_names_of_a_detector(ended):
    assert _listed(ended[1]["detector?"]) == OF_DETECTOR


@pytest.mark.parametrize("name", NAMED)
def test_the_names_that_a_refusal_lists_are_those_that_the_logs_have(ended, name):
    folder, results, _ = ended
    had = {one for one in results[name]["metrics"] if not one.startswith("test_")}
    assert _listed(results[f"{name}?"]) == had
    assert had >= NAMED[name][2]
    assert not (folder / f"{name}?").exists()


def test_a_figure_of_an_own_callback_is_in_the_plan_and_stops_the_run(ended):
    result = ended[1]["own figure"]
    shown = " ".join(result["shown"].split())
    assert "EarlyStopping monitors val_f1: expected from F1" in shown
    assert result["epochs"] == 2


def test_a_figure_that_an_own_callback_forgets_is_told_after_the_first_epoch(ended):
    _, results, said = ended
    assert results["forgotten figure"]["epochs"] == 3
    assert said.count("nothing to go by: there is no val_f1 at the end of epoch 1, only ") == 1
    assert "only accuracy, loss, val_accuracy, val_loss." in said


def test_a_path_that_an_own_callback_forgets_to_fill_needs_a_change(ended):
    result = ended[1]["forgotten in a path"]
    assert result["code"] == 2
    _contains(result["reason"], "path names 'val_f1', which isn't in the logs", "The weights after")


def test_the_rate_that_keras_adds_can_be_watched_by_who_comes_after(ended):
    assert ended[1]["rate and path"]["epochs"] == 2


def test_the_best_of_some_steps_is_kept_where_plain_keras_fails(ended):
    # It decides whether less is better at the end of the first epoch, and compares before.
    folder, results, _ = ended
    assert results["forgotten figure"]["epochs"] == 3
    assert list((folder / "of forgotten figure").glob("*.keras"))


def test_a_path_with_figures_is_filled(ended):
    names = [path.name for path in (ended[0] / "of rate and path").iterdir()]
    assert len(names) == 2
    assert all(re.fullmatch(r"0[12]-[01]\.\d\.keras", name) for name in names)


# Two real workers.

GATE = """
    class Gate(layers.Layer):
        def __init__(self, function):
            super().__init__(name="gate")
            self.function = function

        def call(self, x):
            return self.function(x)

    def build(spec, num_classes):
        return keras.Sequential([network(spec), Gate(ops.tanh)])
"""
# By name: what the model file has beside MODEL, and what the refusal says.
REFUSED = {
    "name": (
        _callbacks("keras.callbacks.EarlyStopping('acc')"),
        ("EarlyStopping(monitor='acc'), but", "one of accuracy, loss.", "Did you mean 'accuracy'?"),
    ),
    "no validation": (
        _callbacks("keras.callbacks.EarlyStopping('val_loss')"),
        ("(monitor='val_loss')", "has no validation split", "Did you mean 'loss'?"),
    ),
    "unsavable": (
        GATE + _callbacks(SAVES.format("'{0}/saved.keras', 'loss'")),
        ("ModelCheckpoint, which saves the whole model", "layer 'gate' (Gate) has no get_config"),
    ),
    "path": (
        _callbacks(SAVES.format("'{0}/{epoch}-{val_loss:.2f}.keras'")),
        ("{val_loss:.2f}", "there will be no 'val_loss'", "has no validation split"),
    ),
}


def _flags(folder, text):
    from tests.jobs import test_bad_input

    model = written(folder / "network.py", MODEL, text.replace("{0}", str(folder / "saved")))
    return test_bad_input._flags(folder, model=model)


@pytest.mark.parametrize("name", REFUSED)
def test_two_workers_refuse_what_never_comes_before_the_first_step(tmp_path, name):
    text, said = REFUSED[name]
    _contains(_refusal(tmp_path, *_flags(tmp_path, text)), *said)
    assert not (tmp_path / "saved").exists()


def test_a_rehearsal_of_any_worker_refuses_the_same(tmp_path):
    text, said = REFUSED["name"]
    commands = worker_commands([*_flags(tmp_path, text), "--dry_run"])
    _contains(_shared_reason(commands, tmp_path), *said)
    assert not (tmp_path / "runs").exists()


def test_two_workers_stop_early_by_a_figure_that_only_the_chief_adds(tmp_path):
    own = ADDS + _callbacks("*([F1()] if tfscale.is_chief() else [])", STOPS.format("val_f1"))
    flags = [*_flags(tmp_path, "    import tfscale\n" + own), "--epochs=5"]
    ended = start_all(worker_commands(flags), deadline_seconds=90, is_warm=True)
    assert [worker.code for worker in ended] == [0, 0], ended
    report = json.loads((tmp_path / "runs" / "first" / "report.json").read_text())
    assert report["epochs"] == 2
