"""The program that evaluates a saved model, on one worker and on two, beside plain Keras."""

import importlib.util
import runpy
import sys

import keras
import numpy as np
import pytest

from tests.jobs.workers import ROOT, start_all, worker_commands

pytestmark = pytest.mark.long

DEADLINE_SECONDS = 180
DATA = """
import numpy as np
import tensorflow as tf

num_classes, size = 3, 50
splits = ("train", "validation", "test")


def statistics():
    return {"middle": 0.25}


def arrays(split):
    own = np.random.RandomState(len(split))
    return own.rand(size, 4).astype(np.float32), own.randint(0, num_classes, size)


def load(split):
    if split == "other":
        return None
    return tf.data.Dataset.from_tensor_slices(arrays(split))


def preprocess(record, training, middle):
    x, y = record
    return x - middle, y
"""
MODELS = {
    "plain": """
import keras

def build(spec, num_classes):
    return keras.Sequential([keras.Input(spec.shape), keras.layers.Dense(num_classes)])
""",
    # Its class is known to its own file alone.
    "own": """
import keras

class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2.0 * x

def build(spec, num_classes):
    inputs = keras.Input(spec.shape)
    outputs = keras.layers.Dense(num_classes, "softmax")(Doubled()(inputs))
    model = keras.Model(inputs, {"chances": outputs})
    model.compile("sgd", {"chances": "sparse_categorical_crossentropy"}, metrics=["accuracy"])
    return model
""",
}


@pytest.fixture(scope="module", params=MODELS)
def run(request, tmp_path_factory):
    """The folder of a run, with the files of the user beside it."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "data.py").write_text(DATA)
    (folder / "model.py").write_text(MODELS[request.param])
    flags = [f"--dataset={folder / 'data.py'}", f"--model={folder / 'model.py'}"]
    flags += [f"--run_dir={folder / 'run'}", "--batch_size=10", "--dataset_option=size=40"]
    (ended,) = start_all(
        worker_commands(flags, num_workers=1), deadline_seconds=DEADLINE_SECONDS, is_warm=True
    )
    assert ended.code == 0, ended.err
    return folder / "run"


def _evaluate(*flags, workers=1):
    program = [sys.executable, str(ROOT / "launch" / "local.py"), f"--workers={workers}"]
    command = [*program, "--program=evaluate", "--", *map(str, flags)]
    (ended,) = start_all([command], deadline_seconds=DEADLINE_SECONDS)
    return ended


def _test_data(run):
    spec = importlib.util.spec_from_file_location("evaluated_data", run.parent / "data.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.size = 40
    x, y = module.arrays("test")
    return x - 0.25, y


def _model_of(run):
    script = run / "load_model.py"
    if script.exists():
        return runpy.run_path(str(script))["model"]
    return keras.saving.load_model(run / "model.keras")


@pytest.mark.parametrize("workers", [1, 2])
def test_each_example_once_as_in_plain_keras(run, tmp_path, workers):
    out = tmp_path / "test.npz"
    ended = _evaluate(
        f"--run_dir={run}",
        "--split=test",
        f"--predictions={out}",
        "--batch_size=12",
        workers=workers,
    )
    assert ended.code == 0, ended.err
    x, y = _test_data(run)
    with np.load(out) as held:
        (name,) = held.files
        found = held[name]
    assert name == ("predictions" if run.parent.name.startswith("plain") else "chances")
    expected = _model_of(run).predict(x, verbose=0)
    expected = expected if name == "predictions" else expected[name]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    right = float(np.mean(found.argmax(-1) == y))
    assert f"accuracy {right:.4f}" in ended.out
    assert "'test', 40 examples" in ended.out
    assert not (run / "attempts").exists()


def test_a_saved_model_needs_no_run(run):
    if run.parent.name.startswith("own"):
        pytest.skip("a class of its own needs its run")
    model, data = run / "model.keras", run.parent / "data.py"
    ended = _evaluate(f"--model={model}", f"--dataset={data}", "--dataset_option=size=40")
    assert ended.code == 0, ended.err
    assert "'validation', 40 examples" in ended.out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "--run_dir or --model has to be given"),
        (("--model=nope.keras", "--dataset=datasets/digits.py"), "nope.keras can't be loaded"),
        (("--run_dir={run}", "--split=other"), "load('other') returned None"),
        (("--model={run}",), "--dataset has to be given"),
        (("--run_dir={run}", "--predictions=a.csv"), "expected a file named .npz"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_in_one_line(run, flags, words):
    ended = _evaluate(*(flag.format(run=run) for flag in flags))
    assert ended.code == 2
    assert words in ended.err
    assert ended.err.count("\n") == 1
