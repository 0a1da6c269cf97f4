"""Real `mpirun`, of Open MPI and MPICH: its tasks train what workers with addresses train."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.jobs.workers import ROOT, start_all, worker_commands

pytestmark = pytest.mark.long

DEADLINE_SECONDS = 240
FLAGS = ["--dataset=datasets/digits.py", "--model=models/mlp.py", "--batch_size=64", "--epochs=2"]
# Two tasks on a machine of two cores are one for each slot; more have to be asked for.
MPIRUN = {
    "openmpi": ["mpirun.openmpi", "--oversubscribe", "--bind-to", "none"],
    "mpich": ["mpirun.mpich"],
}


def _missing(kind):
    return shutil.which(MPIRUN[kind][0]) is None


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


@pytest.mark.parametrize("tasks", [2, 4])
@pytest.mark.parametrize("kind", MPIRUN)
def test_mpirun_trains_what_workers_with_addresses_train(tmp_path, kind, tasks, expected):
    if _missing(kind):
        pytest.skip(f"it needs {MPIRUN[kind][0]} (Debian: openmpi-bin, mpich)")
    run_dir = tmp_path / "run"
    environ = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    environ |= {"CUDA_VISIBLE_DEVICES": "-1"}
    environ |= dict.fromkeys(("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"), "1")
    command = [*MPIRUN[kind], "-n", str(tasks), sys.executable, "launch/worker.py"]
    done = subprocess.run(
        [*command, *FLAGS, f"--run_dir={run_dir}"],
        env=environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    report = json.loads((run_dir / "report.json").read_text())
    assert report["workers"] == tasks
    assert report["weights_sha256"] == expected[tasks]
    assert not list(run_dir.glob(".tfscale-*"))
