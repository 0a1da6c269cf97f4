"""The same command twice: the second one is told who has the folder, the first one isn't harmed."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace

import psutil
import pytest

from tests.jobs.workers import ROOT, start_all, worker_commands
from tfscale.files.run_holder import read

pytestmark = [pytest.mark.long, pytest.mark.promise("two_runs")]

DEADLINE_SECONDS = 240
# It stands still after an epoch until there is a file.
MODEL = """
    import os, time
    import keras, tfscale

    def build(spec, num_classes):
        return keras.Sequential(
            [keras.Input(spec.shape), keras.layers.Flatten(), keras.layers.Dense(num_classes)]
        )

    class Waits(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            while epoch == 1 and tfscale.is_chief() and not os.path.exists({go!r}):
                time.sleep(0.05)

    def callbacks():
        return [Waits()]
"""


def _flags(folder):
    (folder / "network.py").write_text(textwrap.dedent(MODEL).format(go=str(folder / "go")))
    flags = ["--dataset=datasets/digits.py", f"--model={folder / 'network.py'}", "--bucket_mb=1"]
    flags += [f"--run_dir={folder / 'run'}", "--epochs=4", "--steps_per_epoch=5"]
    return [*flags, "--checkpoint_every_steps=5", f"--step_timeout={DEADLINE_SECONDS}"]


def _launched(folder):
    return [sys.executable, "launch/local.py", "--workers=2", "--", *_flags(folder)]


def _begun(folder):
    """A launcher whose run has a checkpoint and waits."""
    with (folder / "said.txt").open("w") as said:
        environ = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
        environ |= {"CUDA_VISIBLE_DEVICES": "-1", "TMPDIR": str(folder)}
        streams = {"stdout": said, "stderr": subprocess.STDOUT}
        launcher = subprocess.Popen(_launched(folder), cwd=ROOT, env=environ, **streams)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (folder / "run" / "checkpoints" / "step-0000000010").is_dir():
        assert launcher.poll() is None, (folder / "said.txt").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return launcher


def _tasks(folder):
    """What two tasks of one `mpirun` are, which tell each other their addresses."""
    variables = ["env", "OMPI_COMM_WORLD_SIZE=2"]
    return [
        [*variables, f"OMPI_COMM_WORLD_RANK={rank}", *command]
        for rank in (0, 1)
        for command in worker_commands(_flags(folder), num_workers=1)
    ]


def _files(run):
    return {path.relative_to(run).as_posix(): path.stat().st_mtime_ns for path in run.rglob("*")}


def _report(folder):
    return json.loads((folder / "run" / "report.json").read_text())


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    """How those ended that came while a run went on, and what the run left."""
    folder, alone = tmp_path_factory.mktemp("twice"), tmp_path_factory.mktemp("alone")
    (alone / "go").touch()
    undisturbed = start_all(
        worker_commands(_flags(alone)), deadline_seconds=DEADLINE_SECONDS, is_warm=True
    )
    first = _begun(folder)
    try:
        holder, before = read(folder / "run"), _files(folder / "run")
        flags = _flags(folder)
        groups = {
            "launcher": [_launched(folder)],
            "tasks": _tasks(folder),
            "worker": worker_commands([*flags, "--overwrite"], num_workers=1),
            "workers": worker_commands(flags),
            "supervisor": [[*worker_commands(flags)[0], "--restarts=3"]],
            "rehearsal": worker_commands([*flags, "--dry_run"], num_workers=1),
        }
        commands = [command for group in groups.values() for command in group]
        ended = iter(start_all(commands, deadline_seconds=DEADLINE_SECONDS))
        later = {name: [next(ended) for _ in group] for name, group in groups.items()}
        after = _files(folder / "run")
        (folder / "go").touch()
        code = first.wait(DEADLINE_SECONDS)
    finally:
        first.kill()  # its guard ends the workers
        first.wait()
    return SimpleNamespace(
        folder=folder,
        alone=alone,
        undisturbed=undisturbed,
        later=later,
        code=code,
        holder=holder,
        before=before,
        after=after,
    )


@pytest.mark.parametrize("name", ["launcher", "tasks", "worker", "workers", "supervisor"])
def test_who_comes_second_ends_in_one_line_that_says_who_has_the_folder(twice, name):
    for ended in twice.later[name]:
        assert (ended.code, ended.out) == (2, ""), ended
        (line,) = ended.err.splitlines()
        run = twice.folder / "run"
        assert line.startswith(f"--run_dir={run} is held by another run, pid {twice.holder.pid} on")
        assert f" since {twice.holder.since}" in line


def test_a_rehearsal_needs_no_folder(twice):
    (ended,) = twice.later["rehearsal"]
    assert (ended.code, ended.err) == (0, "")


def test_the_first_is_unharmed(twice):
    own = {".tfscale-run-holder.json", "logs/worker-0.log", "logs/worker-1.log"}
    changed = dict(twice.before.items() ^ twice.after.items()).keys()
    assert {name for name in changed if not name.startswith(("logs/", "tensorboard"))} <= own
    assert twice.code == 0, (twice.folder / "said.txt").read_text()
    assert [worker.code for worker in twice.undisturbed] == [0, 0], twice.undisturbed
    expected, found = _report(twice.alone), _report(twice.folder)
    assert found["weights_sha256"] == expected["weights_sha256"]
    assert (found["starts"], found["steps"]) == (1, 20)
    logs = [path.read_text() for path in (twice.folder / "run" / "logs").iterdir()]
    assert not [text for text in logs if "is held by" in text]


def test_nothing_of_the_lock_stays(twice):
    assert not list((twice.folder / "run").glob(".*"))


def test_a_run_that_was_killed_is_gone_on_with_at_once(twice, tmp_path):
    launcher = _begun(tmp_path)
    workers = psutil.Process(launcher.pid).children(recursive=True)
    for process in (psutil.Process(launcher.pid), *workers):
        process.send_signal(signal.SIGKILL)
    launcher.wait()
    (tmp_path / "go").touch()
    (ended,) = start_all([_launched(tmp_path)], deadline_seconds=DEADLINE_SECONDS)
    assert ended.code == 0, ended
    assert "resumes from" in ended.out
    assert "held" not in ended.out + ended.err
    report = _report(tmp_path)
    assert (report["starts"], report["steps"]) == (2, 20)
    assert report["weights_sha256"] == _report(twice.alone)["weights_sha256"]
    assert not list((tmp_path / "run").glob(".*"))
