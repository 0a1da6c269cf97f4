"""Real Slurm of two nodes here: `srun`, and `train.sbatch` over time limits and preemption."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.jobs.paced import PACED
from tests.jobs.slurm_here import slurm, why_not
from tests.jobs.workers import ROOT, start_all, worker_commands

pytestmark = [
    pytest.mark.long,
    pytest.mark.promise("launchers"),
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]

DEADLINE_SECONDS = 240
FLAGS = ["--dataset=datasets/digits.py", "--batch_size=64"]
SMALL = "--model=models/mlp.py"
SBATCH = "launch/slurm/train.sbatch"


@pytest.fixture(scope="module")
def environ():
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    try:
        with slurm(folder) as environ:
            yield {**environ, "PYTHON": sys.executable}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(environ, *words):
    done = subprocess.run(
        words, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_SECONDS
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.promise("doctor")
def test_srun_examines_its_nodes(environ):
    told = json.loads(
        _run(
            {name: value for name, value in environ.items() if not name.lower().endswith("_proxy")},
            *("srun", "-N2", "--ntasks-per-node=1", sys.executable, "launch/doctor.py", "--json"),
        )
    )
    assert (told["findings"], len(told["workers"]), set(told["nodes"])) == ([], 2, {"0", "1"})
    assert {row["collectives"] for row in told["links"]} == {"ring"}


def _submit(environ, log, *words):
    options = ["--parsable", "--cpus-per-task=1", f"--output={log}", *words]
    return _run(environ, "sbatch", *options).strip()


def _state(environ, job):
    text = _run(environ, "scontrol", "show", "job", job)
    return re.search(r"JobState=(\w+)", text)[1], text


def _await(environ, job, *states, log):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        state, _ = _state(environ, job)
        if state in states:
            time.sleep(5 if state == "FAILED" else 0)  # which a job is that is about to come back
            if _state(environ, job)[0] == state:
                return state
        if state == "PENDING":  # a job that comes back waits two minutes by default
            subprocess.run(
                ["scontrol", "update", f"JobId={job}", "StartTime=now"], env=environ, check=False
            )
        time.sleep(0.5)
    raise TimeoutError(f"{job} is {state}: {log.read_text()[-2000:]}")


def _await_checkpoint(run_dir, log):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not list(run_dir.glob("checkpoints/step-*")):
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.2)


def _report(run_dir):
    return json.loads((run_dir / "report.json").read_text())


def _alone(folder, *more):
    """The same training of two workers that Slurm knows nothing of."""
    flags = [*FLAGS, f"--run_dir={folder}", *more]
    ended = start_all(worker_commands(flags), deadline_seconds=DEADLINE_SECONDS, is_warm=True)
    assert [one.code for one in ended] == [0, 0]
    return _report(folder)


def test_srun_starts_a_training_of_both_nodes(environ, tmp_path):
    run_dir = tmp_path / "run"
    step = ["srun", "-N2", "--ntasks-per-node=1", sys.executable, "launch/worker.py"]
    out = _run(environ, *step, *FLAGS, SMALL, f"--run_dir={run_dir}", "--epochs=2")
    assert "as srun (SLURM_PROCID) says" in " ".join(out.split())
    expected = _alone(tmp_path / "alone", SMALL, "--epochs=2")
    assert _report(run_dir)["weights_sha256"] == expected["weights_sha256"]


def test_a_batch_script_without_srun_is_refused(environ, tmp_path):  # T7
    script = tmp_path / "job.sh"
    flags = " ".join([*FLAGS, SMALL, f"--run_dir={tmp_path / 'run'}"])
    script.write_text(f"#!/bin/sh\n{sys.executable} launch/worker.py {flags}\n")
    log = tmp_path / "log"
    job = _submit(environ, log, "-N2", "--ntasks=2", str(script))
    assert _await(environ, job, "FAILED", "COMPLETED", log=log) == "FAILED"
    assert "was started without srun, and the job has 2 tasks" in log.read_text()
    assert not (tmp_path / "run").exists()


LONG = ["--epochs=8", "--checkpoint_every_steps=5"]


@pytest.fixture(scope="module")
def paced(tmp_path_factory):
    """The model file, and what comes of a training that nobody stops."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "model.py").write_text(PACED)
    model = f"--model={folder / 'model.py'}"
    return model, _alone(folder / "run", model, *LONG)["weights_sha256"]


# T9, T10: the signal comes to all, in time; T11: no epoch begins again; T13: SIGTERM alone.
@pytest.mark.parametrize(
    "how", ["time limit", "scontrol requeue", "preemption", "preemption without grace"]
)
def test_a_job_that_is_stopped_goes_on_with_the_same_result(environ, tmp_path, paced, how):
    run_dir, log = tmp_path / "run", tmp_path / "log"
    has_limit, (model, expected) = how == "time limit", paced
    options = ["--time=2", "--signal=TERM@70"] if has_limit else []
    options += ["--partition=hard"] if how == "preemption without grace" else []
    environ = environ | {"PAUSE_SECONDS": "0.5" if has_limit else "0.1"}
    job = _submit(environ, log, *options, SBATCH, *FLAGS, model, f"--run_dir={run_dir}", *LONG)
    _await_checkpoint(run_dir, log)
    if how == "scontrol requeue":
        _run(environ, "scontrol", "requeue", job)
    elif not has_limit:
        urgent = _submit(
            environ,
            tmp_path / "urgent",
            "--partition=first",
            "-N2",
            "--cpus-per-task=2",
            "--exclusive",
            "--wrap=sleep 2",
        )
        _await(environ, urgent, "COMPLETED", log=tmp_path / "urgent")
    state = _await(environ, job, "COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", log=log)
    assert state == "COMPLETED", log.read_text()[-3000:]
    is_saved_by_us = how in ("time limit", "preemption")
    assert ("goes on as a new one" in log.read_text()) == is_saved_by_us
    report = _report(run_dir)
    assert report["starts"] > 1
    assert report["weights_sha256"] == expected


def test_an_array_trains_several_seeds_each_in_a_folder_of_its_own(environ, tmp_path):
    flags = [*FLAGS, SMALL, f"--run_dir={tmp_path / 'runs'}", "--epochs=1"]
    job = _submit(environ, tmp_path / "log-%a", "--array=3,5", "-N1", SBATCH, *flags)
    for seed in (3, 5):
        log = tmp_path / f"log-{seed}"
        assert _await(environ, f"{job}_{seed}", "COMPLETED", "FAILED", log=log) == "COMPLETED"
    configs = [
        json.loads((tmp_path / "runs" / f"seed-{seed}" / "config.json").read_text())
        for seed in (3, 5)
    ]
    assert [config["seed"] for config in configs] == [3, 5]
    sums = {_report(tmp_path / "runs" / f"seed-{seed}")["weights_sha256"] for seed in (3, 5)}
    assert len(sums) == 2


def test_tasks_that_are_not_dealt_out_in_blocks_are_refused(environ, tmp_path):
    step = ["srun", "-N2", "--ntasks=4", "--overcommit", "--distribution=cyclic", sys.executable]
    flags = [*FLAGS, SMALL, f"--run_dir={tmp_path / 'run'}"]
    done = subprocess.run(
        [*step, "launch/worker.py", *flags],
        env=environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "SLURM_DISTRIBUTION=cyclic" in done.stdout + done.stderr
    assert not (tmp_path / "run").exists()
