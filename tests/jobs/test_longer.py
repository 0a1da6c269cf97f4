"""More epochs for a run that has ended, and what else may be another when a run goes on."""

import json
import shutil

import numpy as np
import pytest

from tests.jobs.workers import ROOT, start_all, worker_commands
from tests.report.points import points_of

pytestmark = pytest.mark.long

STEPS = 19  # an epoch of the digits
MODEL = """
import keras

def build(spec, num_classes):
    hidden = [keras.layers.Flatten(), keras.layers.Dense(8, "relu")]
    return keras.Sequential([keras.Input(spec.shape), *hidden, keras.layers.Dense(num_classes)])

def callbacks():
    return [keras.callbacks.CSVLogger("epochs.csv")]
"""
CONSTANT = ("--schedule=constant", "--warmup_fraction=0")


@pytest.fixture
def train(tmp_path):
    """Trains in a folder, and gives how it ended, its report, and the rows of its plan."""
    (tmp_path / "model.py").write_text(MODEL)
    shutil.copy(ROOT / "datasets" / "digits.py", tmp_path)
    shutil.copy(ROOT / "datasets" / "digits.npz", tmp_path)

    def run(name, *flags, files=tmp_path, workers=1):
        run_dir = tmp_path / name
        shared = [f"--dataset={files / 'digits.py'}", f"--model={files / 'model.py'}"]
        shared += [f"--run_dir={run_dir}", "--batch_size=64", "--learning_rate=0.05", *flags]
        commands = worker_commands(shared, num_workers=workers)
        ended = start_all(commands, deadline_seconds=180, is_warm=True)
        report, config = run_dir / "report.json", run_dir / "config.json"
        read = [json.loads(one.read_text()) if one.exists() else {} for one in (report, config)]
        return ended[0], read[0], read[1].get("plan", {})

    return run


@pytest.mark.parametrize("workers", [1, 2])
def test_more_epochs_are_those_of_a_longer_run(train, tmp_path, workers):
    _, whole, _ = train("whole", "--epochs=4", *CONSTANT, workers=workers)
    train("longer", "--epochs=2", *CONSTANT, workers=workers)
    ended, longer, plan = train("longer", "--epochs=4", *CONSTANT, workers=workers)
    assert ended.code == 0, ended.err[-2000:]
    assert plan["resumes from"] == f"step {2 * STEPS}, epoch 2"
    assert "more epochs" not in plan
    assert longer["weights_sha256"] == whole["weights_sha256"]
    assert (longer["epochs"], longer["steps"]) == (4, 4 * STEPS)
    assert longer["metrics"] == pytest.approx(whole["metrics"])
    curves = points_of(tmp_path / "longer" / "tensorboard")
    assert curves["validation", "loss"] == [STEPS * epoch for epoch in range(1, 5)]
    assert all(steps == sorted(set(steps)) for steps in curves.values())
    again, _, _ = train("longer", "--epochs=4", *CONSTANT, workers=workers)
    assert again.code == 2
    assert "holds another run" in again.err


def test_a_rate_that_follows_the_length_is_told(train):
    train("run", "--epochs=2")
    ended, report, plan = train("run", "--epochs=5")
    assert (ended.code, report["epochs"]) == (0, 5)
    rising = round(5 * STEPS * 0.05)
    goes_on = 0.05 * (1 + np.cos(np.pi * (2 * STEPS - rising) / (5 * STEPS - rising))) / 2
    assert plan["more epochs"] == (
        f"5 instead of 2: the learning rate goes on at {goes_on:.4g}, on the course of 5; that of "
        "2 had come to 0 here"
    )


def test_what_changes_no_result_may_be_another_and_is_said(train, tmp_path):
    train("run", "--epochs=1", *CONSTANT)
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("digits.py", "digits.npz", "model.py"):
        shutil.copy(tmp_path / name, moved)
    flags = ("--epochs=2", *CONSTANT, "--accumulate_steps=2")
    ended, report, plan = train("run", *flags, files=moved)
    assert (ended.code, report["epochs"]) == (0, 2), ended.err[-2000:]
    assert "--accumulate_steps=2 (was 1): the same examples" in plan["resumes from"]
    _, whole, _ = train("whole", "--epochs=2", *CONSTANT)
    assert report["metrics"] == pytest.approx(whole["metrics"], rel=1e-4)
    (moved / "model.py").write_text(MODEL + "# a comment")
    ended, _, plan = train("run", "--epochs=3", *flags[1:], files=moved)
    assert ended.code == 0
    assert "the text of the model file has changed since" in plan["resumes from"]
    ended, _, _ = train("run", "--epochs=4", "--seed=7", *flags[1:])
    assert ended.code == 2
    assert "holds a run that has ended, which was asked for something else (" in ended.err
    assert "--seed was 0 and is 7" in ended.err
    assert f"--model was {moved}/model.py and is {tmp_path}/model.py" in ended.err
