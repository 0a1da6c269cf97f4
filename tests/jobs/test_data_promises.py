"""What the dataset file says about labels and random numbers holds on real workers."""

import json
import textwrap
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tests.jobs.workers import start_all, worker_commands, written

DATA = """
    import numpy as np
    import tensorflow as tf

    num_classes = 2
    class_weight = {"0": 0.5, "1": 4.0}  # as read from JSON
    splits = ("train",)

    def examples():
        random = np.random.default_rng(0)
        labels = (random.random((64, 1)) < 0.25).astype("int64")
        return random.normal(size=(64, 4, 4, 1)).astype("float32"), labels

    def load(split):
        return tf.data.Dataset.from_tensor_slices(examples())

    def preprocess(record, training, seed):
        image = tf.image.stateless_random_flip_left_right(record[0], seed)
        return tf.image.stateless_random_brightness(image, 0.3, seed), record[1]
"""
# What comes out is an average of two probabilities that nothing but a trial can tell.
MODEL = """
    import keras
    from keras import layers

    def build(spec):
        inputs = keras.Input(spec.shape)
        flat = layers.Flatten()(inputs)
        halves = [layers.Dense(1, "sigmoid", kernel_initializer="zeros")(flat) for _ in range(2)]
        return keras.Model(inputs, layers.Reshape((1,))(layers.Average()(halves)))
"""
DRAWN = """
    def preprocess(record, training):
        turns = tf.map_fn(lambda row: row * tf.random.uniform([]), record[0])
        return turns, record[1]
"""


def _flags(folder, run_dir, *also, epochs=1):
    """A step is a whole epoch, and the rate is too small to change the loss of the first."""
    return [
        f"--dataset={written(folder / 'data.py', DATA, *also)}",
        f"--model={written(folder / 'model.py', MODEL)}",
        f"--run_dir={run_dir}",
        f"--epochs={epochs}",
        *("--batch_size=64", "--learning_rate=4", "--base_batch_size=64", "--schedule=constant"),
        *("--warmup_fraction=0", "--momentum=0", "--weight_decay=0"),
    ]


def _plain_keras():
    """The first loss of `model.fit(class_weight=...)` in one process."""
    names = {}
    exec(textwrap.dedent(DATA), names)  # noqa: S102 - our own
    exec(textwrap.dedent(MODEL), names)  # noqa: S102
    images, labels = names["examples"]()

    model = names["build"](SimpleNamespace(shape=(4, 4, 1)))
    model.compile("sgd", "binary_crossentropy", weighted_metrics=[])
    weights = {0: 0.5, 1: 4.0}
    return model.fit(images, labels, batch_size=64, class_weight=weights, verbose=0).history["loss"]


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """The reports of workers x devices: after one epoch, and after five."""
    folder = tmp_path_factory.mktemp("promises")
    found = {}
    for workers, devices, epochs in ((1, 1, 1), (1, 1, 5), (1, 2, 5), (2, 1, 5)):
        run_dir = folder / f"{workers}x{devices}-{epochs}"
        flags = [*_flags(folder, run_dir, epochs=epochs), f"--devices={devices}"]
        commands = worker_commands(flags, num_workers=workers)
        ended = start_all(commands, deadline_seconds=120, is_warm=True)
        assert [worker.code for worker in ended] == [0] * workers, ended[0].err[-2000:]
        found[workers, devices, epochs] = json.loads((run_dir / "report.json").read_text())
        found[workers, devices, epochs]["plan"] = json.loads((run_dir / "config.json").read_text())[
            "plan"
        ]
        found[workers, devices, epochs]["weights"] = keras.models.load_model(
            run_dir / "model.keras"
        ).get_weights()
    return found


def test_the_first_loss_is_that_of_keras_with_class_weights_and_probabilities(reports):
    assert reports[1, 1, 1]["metrics"]["loss"] == pytest.approx(_plain_keras()[0], abs=1e-6)


@pytest.mark.parametrize("shape", [(1, 2), (2, 1)])
def test_weights_losses_and_augmentation_are_those_of_one_replica(reports, shape):
    alone, together = reports[1, 1, 5], reports[*shape, 5]
    assert together["metrics"] == pytest.approx(alone["metrics"], abs=1e-6)
    for found, expected in zip(together["weights"], alone["weights"], strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert alone["metrics"]["loss"] < reports[1, 1, 1]["metrics"]["loss"]


def test_the_plan_says_what_the_loss_takes_the_output_for(reports):
    for report in reports.values():
        told = "BinaryCrossentropy of probabilities (by its last operation)"
        assert report["plan"]["loss"] == told


def test_numbers_of_which_both_workers_would_draw_the_same_are_refused_before_the_first_step(
    tmp_path,
):
    commands = worker_commands(_flags(tmp_path, tmp_path / "runs", DRAWN))
    own_folder = {"TMPDIR": str(tmp_path)}
    ended = start_all(commands, deadline_seconds=90, environ=own_folder, is_warm=True)
    assert [worker.code for worker in ended] == [2, 2]
    for worker in ended:
        (line,) = [line for line in worker.err.splitlines() if " has waited " not in line]
        assert "data.py: preprocess draws random numbers with RandomUniform" in line
        assert "tf.image.stateless_random_flip_left_right(image, seed)" in line
    assert not (tmp_path / "runs").exists()
