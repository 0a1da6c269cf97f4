"""Real `mpirun`, of Open MPI and MPICH: its tasks train what workers with addresses train."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading

import psutil
import pytest

from tests.jobs.workers import ROOT, start_all, worker_commands

pytestmark = [pytest.mark.long, pytest.mark.promise("launchers")]

DEADLINE_SECONDS = 240
FLAGS = ["--dataset=datasets/digits.py", "--model=models/mlp.py", "--batch_size=64", "--epochs=2"]
# Two tasks on a machine of two cores are one for each slot; more have to be asked for.
MPIRUN = {
    "openmpi": ["mpirun.openmpi", "--oversubscribe", "--bind-to", "none"],
    "mpich": ["mpirun.mpich"],
}


def _missing(kind):
    return shutil.which(MPIRUN[kind][0]) is None


def _environ():
    environ = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    may_be_root = ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM")
    return environ | {"CUDA_VISIBLE_DEVICES": "-1"} | dict.fromkeys(may_be_root, "1")


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    found = {}
    for workers in (2, 4):
        run_dir = folder / str(workers)
        commands = worker_commands([*FLAGS, f"--run_dir={run_dir}"], num_workers=workers)
        ended = start_all(commands, deadline_seconds=DEADLINE_SECONDS, is_warm=True)
        assert [one.code for one in ended] == [0] * workers
        found[workers] = json.loads((run_dir / "report.json").read_text())["weights_sha256"]
    return found


def _trained(kind, tasks, run_dir, *flags):
    """The report of a training that `mpirun` has started."""
    if _missing(kind):
        pytest.skip(f"it needs {MPIRUN[kind][0]} (Debian: openmpi-bin, mpich)")
    command = [*MPIRUN[kind], "-n", str(tasks), sys.executable, "launch/worker.py"]
    done = subprocess.run(
        [*command, *FLAGS, *flags, f"--run_dir={run_dir}"],
        env=_environ(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert not list(run_dir.glob(".tfscale-*"))
    return json.loads((run_dir / "report.json").read_text())


@pytest.mark.parametrize("tasks", [2, 4])
@pytest.mark.parametrize("kind", MPIRUN)
def test_mpirun_trains_what_workers_with_addresses_train(tmp_path, kind, tasks, expected):
    report = _trained(kind, tasks, tmp_path / "run")
    assert report["workers"] == tasks
    assert report["weights_sha256"] == expected[tasks]


def test_several_workers_of_each_task_tell_each_other_where_they_are(tmp_path, expected):
    report = _trained("mpich", 2, tmp_path / "run", "--processes_per_node=2")
    assert report["workers"] == 4
    assert report["weights_sha256"] == expected[4]


def _children(pid):
    """The workers that a supervisor below mpirun has started, by their supervisors."""
    found = {}
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "--restarts=0" in process.cmdline():
                found[process.ppid()] = process
    return found


def test_a_worker_that_is_killed_is_started_again_by_the_supervisor_of_its_task(tmp_path):
    if _missing("openmpi"):
        pytest.skip("it needs mpirun.openmpi (Debian: openmpi-bin)")
    run_dir, environ = tmp_path / "run", _environ()
    flags = [*FLAGS[:-1], "--epochs=40", "--checkpoint_every_steps=19"]
    command = [*MPIRUN["openmpi"], "-n", "2", sys.executable, "launch/worker.py", "--restarts=2"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    lines, killed = [], []
    with subprocess.Popen(
        [*command, *flags, f"--run_dir={run_dir}"], env=environ, cwd=ROOT, **streams
    ) as mpirun:
        alarm = threading.Timer(DEADLINE_SECONDS, mpirun.kill)
        alarm.start()
        try:
            for line in mpirun.stdout:
                lines.append(line)
                workers = [] if killed else list(_children(mpirun.pid).values())
                if len(workers) == 2 and list(run_dir.glob("checkpoints/step-*")):
                    killed.append(workers[-1])
                    workers[-1].kill()
        finally:
            alarm.cancel()
    assert mpirun.returncode == 0, "".join(lines)[-3000:]
    assert killed
    report = json.loads((run_dir / "report.json").read_text())
    assert report["starts"] == 2
    commands = worker_commands([*flags, f"--run_dir={tmp_path / 'whole'}"])
    ended = start_all(commands, deadline_seconds=DEADLINE_SECONDS, is_warm=True)
    assert [one.code for one in ended] == [0, 0]
    expected = json.loads((tmp_path / "whole" / "report.json").read_text())
    assert report["weights_sha256"] == expected["weights_sha256"]
    assert not list(run_dir.glob(".tfscale-*"))
