"""Real workers that are killed: the launcher starts all again, and the run is done all the same."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import psutil
import pytest

from tests.jobs.workers import ROOT, start_all, worker_commands
from tests.report.points import points_of
from tfscale.errors import End, Kind
from tfscale.startup.environment import END_RECORD

pytestmark = pytest.mark.long

DEADLINE_SECONDS = 400


def _workers(launcher):
    """The processes of the workers, by their place."""
    found = {}
    for process in psutil.Process(launcher.pid).children():
        for word in process.cmdline():
            if word.startswith("--index="):
                found[int(word.partition("=")[2])] = process
    return found


@pytest.fixture(scope="module")
def killed_once(tmp_path_factory):
    """A launcher whose worker 1 was killed after a checkpoint: how it ended, and what it left."""
    folder = tmp_path_factory.mktemp("killed")
    (folder / "temporary").mkdir()
    command = [sys.executable, "launch/local.py", "--workers=2", "--"]
    command += ["--dataset=datasets/digits.py", "--model=models/small_cnn.py", "--overwrite"]
    command += [f"--run_dir={folder / 'run'}", "--batch_size=64", "--epochs=30"]
    command += ["--checkpoint_every_steps=19"]
    environ = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    environ |= {"CUDA_VISIBLE_DEVICES": "-1", "TMPDIR": str(folder / "temporary")}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    lines, workers = [], {}
    with subprocess.Popen(command, cwd=ROOT, env=environ, **streams) as launcher:
        alarm = threading.Timer(DEADLINE_SECONDS, launcher.kill)  # its guard ends the workers
        alarm.start()
        try:
            for line in launcher.stdout:
                lines.append(line.rstrip())
                if "Epoch" in line and list(folder.glob("run/checkpoints/step-*")) and not workers:
                    workers = _workers(launcher)
                    workers[1].send_signal(signal.SIGKILL)
                    # What a kill inside a save would leave.
                    (folder / "run" / "checkpoints" / ".tmp-1-step-0000000001").mkdir()
        finally:
            alarm.cancel()
            launcher.kill()
    return SimpleNamespace(folder=folder, lines=lines, code=launcher.returncode, workers=workers)


@pytest.mark.promise("restarts")
def test_a_run_whose_worker_was_killed_is_done_at_the_end(killed_once):
    assert killed_once.code == 0, killed_once.lines
    report = json.loads((killed_once.folder / "run" / "report.json").read_text())
    assert (report["workers"], report["starts"], report["steps"]) == (2, 2, 570)


def test_the_second_attempt_goes_on_from_a_checkpoint_of_the_first(killed_once):
    (line,) = [line for line in killed_once.lines if "resumes from" in line]
    step = int(re.search(r"step (\d+)", line)[1])
    assert step >= 19
    assert step % 19 == 0
    (said,) = [line for line in killed_once.lines if "The next one begins" in line]
    assert re.search(r"from step (\d+)", said)[1] == str(step)


def test_each_step_is_in_the_curves_once(killed_once):
    curves = points_of(killed_once.folder / "run" / "tensorboard")
    assert curves["train", "loss"][-1] == 570
    assert curves["validation", "loss"] == [19 * epoch for epoch in range(1, 31)]
    assert all(steps == sorted(set(steps)) for steps in curves.values())


def test_who_was_killed_is_said_and_kept(killed_once):
    lines = [line for line in killed_once.lines if line.startswith("[launch] ")]
    assert lines[0].startswith("[launch] worker 1 was ended by SIGKILL")
    assert lines[1].startswith("[launch] attempt 1 ended: worker 1 was ended by SIGKILL")
    assert len(lines) == 2
    attempts = killed_once.folder / "run" / "attempts"
    found = [json.loads((attempts / f"worker-0.{number}.json").read_text()) for number in (1, 2)]
    assert [attempt["exit_code"] for attempt in found] == [137, 0]
    log = (killed_once.folder / "run" / "logs" / "worker-1.log").read_text()
    assert lines[1] in log


def test_what_a_killed_save_left_is_removed_by_the_next_attempt(killed_once):
    assert not list((killed_once.folder / "run" / "checkpoints").glob(".tmp-*"))


def test_neither_a_process_nor_a_temporary_folder_is_left(killed_once):
    assert sorted(killed_once.workers) == [0, 1]
    assert not [process for process in killed_once.workers.values() if process.is_running()]
    assert not list((killed_once.folder / "temporary").iterdir())


MODEL = """
import keras

class Fails(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise ValueError("words that name nothing")

def build(spec, num_classes):
    return keras.Sequential(
        [keras.Input(spec.shape), keras.layers.Flatten(), keras.layers.Dense(num_classes)]
    )

def callbacks():
    return [Fails()]
"""


def test_the_step_of_a_failure_is_recorded_by_every_worker_without_being_read_out_of_words(
    tmp_path,
):
    (tmp_path / "network.py").write_text(MODEL)
    flags = ["--dataset=datasets/digits.py", f"--model={tmp_path / 'network.py'}"]
    flags += [f"--run_dir={tmp_path / 'run'}", "--epochs=3", "--steps_per_epoch=4"]
    records = [tmp_path / f"{index}.json" for index in range(2)]
    commands = [
        ["env", f"{END_RECORD}={record}", *command]
        for record, command in zip(records, worker_commands(flags, num_workers=2), strict=True)
    ]
    ended = start_all(commands, deadline_seconds=DEADLINE_SECONDS)
    ends = [End.of_text(record.read_text()) for record in records]
    assert ends == [End(ends[0].reason, 1, Kind.FAILURE, 8)] * 2
    assert "ValueError: words that name nothing" in ends[0].reason
    assert [worker.code for worker in ended] == [1, 1]
    assert all(ends[0].reason in worker.err for worker in ended), "people read it as ever"
