"""The programs as a user starts them: what they print, what they write, how they end."""

import contextlib
import http.client
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest

from tests.jobs.workers import ROOT, free_addresses, start_all, worker_commands

DEADLINE_SECONDS = 90
EPOCHS, BATCH = 2, 64
STEPS = EPOCHS * (1257 // BATCH)  # 1257 digits to train with; the rest of each epoch is left over
REPORT = {
    "schema_version": None,
    "workers": None,
    "replicas": None,
    "devices": None,
    "global_batch": None,
    "steps": None,
    "epochs": None,
    "examples_per_second": {"median", "p10", "p90"},
    "step_seconds": {"median", "p95"},
    "share_of_step": {"input_wait", "compute", "exposed_communication"},
    "communication": {
        *("buckets", "bucket_bytes", "gradient_bytes", "sent_bytes_per_step", "bus_bandwidth"),
        *("sent_bytes_per_boundary", "sparse_gradients", "densified_gradients"),
    },
    "accelerator_utilisation": None,
    "input": None,
    "bad_examples": None,
    "non_finite_steps": None,
    "stragglers": None,
    "scaling_efficiency": None,
    "goodput": None,
    "starts": None,
    "checkpoints": {"written", "blocked_seconds", "write_seconds"},
    "seconds": {
        *("startup", "to_first_step", "train", "boundaries", "evaluate", "checkpoint", "total"),
    },
    "metrics": {
        *("accuracy", "loss", "val_accuracy", "val_loss", "test_accuracy", "test_loss"),
    },
    "weights_sha256": None,
    "model": {"file", "load"},
    "versions": {"tensorflow", "keras", "numpy"},
}
# The starts of lines that TensorFlow, absl and gRPC write: "I0000 00:00:17", "2026-01-01 00:00:00".
NOISE = re.compile(r"^([IWEF]\d{4} \d\d:|\d{4}-\d\d-\d\d \d\d:|WARNING)", re.MULTILINE)


def _flags(run_dir, *more):
    return [
        "--dataset=datasets/digits.py",
        "--model=models/mlp.py",
        f"--run_dir={run_dir}",
        f"--batch_size={BATCH}",
        f"--epochs={EPOCHS}",
        *more,
    ]


def _start(commands, folder, **environ):
    temporary = folder / "temporary"
    temporary.mkdir(exist_ok=True)
    environ = {"TMPDIR": str(temporary)} | environ
    return start_all(commands, deadline_seconds=DEADLINE_SECONDS, environ=environ)


def _report(run_dir):
    return json.loads((run_dir / "report.json").read_text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What two terminals with the same command left, and how they ended."""
    folder = tmp_path_factory.mktemp("trained")
    run_dir = folder / "run"
    workers = _start(worker_commands(_flags(run_dir)), folder)
    assert [worker.code for worker in workers] == [0, 0], workers
    return SimpleNamespace(
        run_dir=run_dir,
        report=_report(run_dir),
        workers=workers,
        temporary=folder / "temporary",
    )


def test_the_same_command_in_two_terminals_trains_one_model(trained):
    report = trained.report
    assert (report["workers"], report["replicas"], report["devices"]) == (2, 2, ["CPU", "CPU"])
    assert (report["global_batch"], report["epochs"], report["steps"]) == (BATCH, EPOCHS, STEPS)
    # Ten classes: a tenth is chance.
    assert report["metrics"]["val_accuracy"] > 0.5
    assert report["metrics"]["test_accuracy"] > 0.5


def test_the_report_has_every_key_of_the_contract(trained):
    assert set(trained.report) == set(REPORT)
    for name, parts in REPORT.items():
        if parts is not None:
            assert set(trained.report[name]) == parts, name
    rates = trained.report["examples_per_second"]
    assert 0 < rates["p10"] <= rates["median"] <= rates["p90"]
    assert 0 <= trained.report["share_of_step"]["input_wait"] <= 1
    assert re.fullmatch("[0-9a-f]{64}", trained.report["weights_sha256"])


def test_the_settings_of_the_run_are_filed_with_the_versions(trained):
    settings = json.loads((trained.run_dir / "config.json").read_text())
    expected = {"batch_size": BATCH, "epochs": EPOCHS, "optimizer": "sgd", "seed": 0}
    assert {name: settings[name] for name in expected} == expected
    assert settings["dataset"] == "datasets/digits.py"
    assert settings["model"] == "models/mlp.py"
    assert len(settings["workers"]) == 2
    assert settings["versions"] == trained.report["versions"]


def test_the_run_directory_holds_what_the_contract_names_and_no_more(trained):
    names = {path.name for path in trained.run_dir.iterdir()} - {"checkpoints"}
    assert names == {"report.json", "config.json", "model.keras", "tensorboard", "logs"}


def test_the_chief_shows_the_plan_and_the_result_and_the_others_nothing(trained):
    chief, second = trained.workers
    for words in (
        "64 global -> 32 per worker",
        "the first step took",
        "examples/s",
        "Epoch 2/2: ",
        "val_accuracy",
        "tensorboard --logdir",
    ):
        assert words in chief.out
    assert (chief.err, second.out, second.err) == ("", "", "")


def test_tensorflows_messages_are_in_the_logs_and_not_in_the_terminal(trained):
    names = sorted(path.name for path in (trained.run_dir / "logs").iterdir())
    assert names == ["worker-0.log", "worker-1.log"]
    for name in names:
        # Also the first lines, which came before there was a run directory.
        log = (trained.run_dir / "logs" / name).read_text()
        assert NOISE.search(log)
        assert "Started server with target" in log
    assert not NOISE.search(trained.workers[0].out)


def test_a_run_leaves_nothing_in_the_temporary_folder(trained):
    assert not sorted(path.name for path in trained.temporary.iterdir())


PLAIN_KERAS = """
import importlib.util, json, sys
import numpy as np
assert importlib.util.find_spec("tfscale") is None, sys.path
import keras
model = keras.saving.load_model(sys.argv[1])
results = {}
with np.load(sys.argv[2]) as arrays:
    for split in ("val", "test"):
        logits = model.predict(arrays[split + "_x"], verbose=0).astype("float64")
        labels = arrays[split + "_y"]
        shifted = logits - logits.max(axis=1, keepdims=True)
        likelihood = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        results[split + "_accuracy"] = float((logits.argmax(axis=1) == labels).mean())
        results[split + "_loss"] = -float(likelihood[np.arange(len(labels)), labels].mean())
print(json.dumps(results))
"""


@pytest.mark.promise("saving")
def test_the_model_loads_in_plain_keras_and_predicts_what_the_report_says(trained, tmp_path):
    digits = runpy.run_path(str(ROOT / "datasets" / "digits.py"))
    arrays = {}
    for short, split in (("val", "validation"), ("test", "test")):
        examples = digits["load"](split).map(lambda record: digits["preprocess"](record, False))
        x, y = next(examples.batch(1000).as_numpy_iterator())
        arrays |= {f"{short}_x": x, f"{short}_y": y}
    with (tmp_path / "arrays.npz").open("wb") as file:
        digits["np"].savez(file, **arrays)
    # Isolated (-I), and elsewhere: neither the folder nor PYTHONPATH can lead to tfscale.
    command = [sys.executable, "-I", "-c", PLAIN_KERAS]
    command += [str(trained.run_dir / "model.keras"), str(tmp_path / "arrays.npz")]
    (ended,) = start_all([command], deadline_seconds=DEADLINE_SECONDS, cwd=tmp_path)
    assert ended.code == 0, ended.err
    results = json.loads(ended.out.splitlines()[-1])
    reported = {name: trained.report["metrics"][name] for name in results}
    assert results == pytest.approx(reported, abs=1e-6)


# TensorBoard.


@contextlib.contextmanager
def _tensorboard(folder):
    """Asks a real TensorBoard for `path`; it ends by SIGKILL, at the deadline at the latest."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)]
    command += ["--host=127.0.0.1", "--port=0", "--load_fast=false"]
    # All is read before it answers, instead of every now and then.
    command += ["--reload_interval=0", "--reload_task=blocking"]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        alarm = threading.Timer(DEADLINE_SECONDS, os.killpg, (process.pid, signal.SIGKILL))
        alarm.start()
        try:
            said = []
            for line in process.stderr:
                said.append(line)
                address = re.search(r"http://(127\.0\.0\.1:\d+)/", line)
                if address:
                    break
            else:
                pytest.fail(f"TensorBoard didn't start: {''.join(said)}")
            yield lambda path, **query: _get(address[1], path, query)
        finally:
            alarm.cancel()
            os.killpg(process.pid, signal.SIGKILL)


def _get(address, path, query):
    connection = http.client.HTTPConnection(address, timeout=DEADLINE_SECONDS)
    with contextlib.closing(connection):
        connection.request("GET", f"/data/plugin/{path}?{urlencode(query)}")
        response = connection.getresponse()
        content = response.read()
        assert response.status == 200, content
        return json.loads(content)


def test_tensorboard_shows_training_validation_and_every_workers_host(trained):
    with _tensorboard(trained.run_dir / "tensorboard") as get:
        tags = get("scalars/tags")
        curves = {
            (run, tag): get("scalars/scalars", run=run, tag=tag)
            for run in tags
            for tag in tags[run]
        }
        texts = get("text/tags")
        text = get("text/text", run="train", tag="config")
    workers = ("workers/worker-0", "workers/worker-1")
    assert set(tags) == {"train", "validation", *workers}
    assert set(tags["train"]) == {
        *("loss", "accuracy", "learning_rate"),
        *("examples_per_second", "step_seconds", "input_wait_share"),
        *("exposed_communication_share", "bus_bandwidth_gb_per_second"),
    }
    assert set(tags["validation"]) == {"loss", "accuracy"}
    for worker in workers:
        assert set(tags[worker]) >= {"process_cpu_percent", "process_memory_mib"}
        assert set(tags[worker]) == set(tags[workers[0]])
    # A curve that is written twice has two points for a step: (wall time, step, value).
    for name, points in curves.items():
        steps = [step for _, step, _ in points]
        assert steps == sorted(set(steps)), name
    final = {tag: curves["validation", tag][-1][1:] for tag in ("loss", "accuracy")}
    metrics = trained.report["metrics"]
    assert final["accuracy"] == [STEPS, pytest.approx(metrics["val_accuracy"])]
    assert final["loss"] == [STEPS, pytest.approx(metrics["val_loss"])]
    assert "config" in texts["train"]
    assert "batch_size" in text[0]["text"]


def test_each_curve_has_one_file(trained):
    folder = trained.run_dir / "tensorboard"
    folders = [path.parent for path in folder.rglob("events.out.tfevents.*")]
    assert len(folders) == len(set(folders)) == 4


# Other ways to start.


def test_tf_config_as_schedulers_write_it_trains_the_same_in_the_place_of_hosts(trained, tmp_path):
    first, second = free_addresses(2)
    # The chief's old name, a blank, an index that is a text, other roles: TensorFlow's dialects.
    roles = {"master": [f"{first} "], "worker": {"0": second}, "ps": [], "evaluator": ["far:1"]}
    commands = []
    for task_type in ("master", "worker"):
        config = json.dumps({"cluster": roles, "task": {"type": task_type, "index": "0"}})
        (program,) = worker_commands(_flags(tmp_path / "run"), num_workers=1)
        commands.append(["env", f"TF_CONFIG={config}", *program])
    workers = _start(commands, tmp_path)
    assert [worker.code for worker in workers] == [0, 0], workers
    report = _report(tmp_path / "run")
    assert report["workers"] == 2
    assert report["metrics"] == trained.report["metrics"]
    assert report["weights_sha256"] == trained.report["weights_sha256"]


def test_the_same_command_without_hosts_trains_on_this_machine_alone(trained, tmp_path):
    home = tmp_path / "it's $my run"
    commands = worker_commands(_flags("~/run"), num_workers=1)
    (worker,) = _start(commands, tmp_path, HOME=str(home))
    assert (worker.code, worker.err) == (0, ""), worker
    report = _report(home / "run")
    # What is printed at the end can be typed as it stands.
    printed = worker.out.rpartition("model:")[2].strip()
    (loaded,) = start_all([["sh", "-c", printed]], deadline_seconds=DEADLINE_SECONDS)
    assert loaded.code == 0, loaded
    assert "Total params" in loaded.out
    assert (report["workers"], report["replicas"], report["steps"]) == (1, 1, STEPS)
    assert report["metrics"] == pytest.approx(trained.report["metrics"], abs=1e-3)


def test_a_dry_run_shows_the_plan_and_writes_nothing_with_or_without_the_others(tmp_path):
    flags = _flags(tmp_path / "runs" / "first", "--dry_run")
    (alone,) = worker_commands(flags, num_workers=1)
    first_of_two, _ = worker_commands(flags)
    for number, command in ((1, alone), (2, first_of_two)):
        (worker,) = _start([command], tmp_path)
        assert (worker.code, worker.err) == (0, ""), worker
        assert f"64 global -> {64 // number} per worker" in worker.out
        assert "1,257 records" in worker.out
        assert "Epoch" not in worker.out
    assert not (tmp_path / "runs").exists()


@pytest.mark.promise("missing_workers")
def test_a_worker_whose_peer_never_comes_names_it_and_gives_up(tmp_path):
    flags = _flags(tmp_path / "runs" / "first", "--start_timeout=8")
    first, second = worker_commands(flags)
    missing = second[-2].partition(",")[2]
    (worker,) = _start([first], tmp_path)
    assert worker.code == 75, worker
    assert f"worker 1 at {missing} (nothing listens there yet: " in worker.err
    assert "gave up after" in worker.err.splitlines()[-1]
    assert "--start_timeout" in worker.err.splitlines()[-1]
    assert not (tmp_path / "runs").exists()


def _local(flags, folder):
    command = [sys.executable, str(ROOT / "launch" / "local.py"), "--workers=2", "--", *flags]
    (launcher,) = _start([command], folder)
    return launcher


def test_the_local_launcher_trains_with_two_workers(trained, tmp_path):
    launcher = _local(_flags(tmp_path / "run"), tmp_path)
    assert launcher.code == 0, launcher
    assert "[0] Epoch 2/2" in launcher.out
    assert not [line for line in launcher.out.splitlines() if line.startswith("[1]")]
    assert _report(tmp_path / "run")["weights_sha256"] == trained.report["weights_sha256"]
    logs = sorted(path.name for path in (tmp_path / "run" / "logs").iterdir())
    assert logs[-2:] == ["worker-0.log", "worker-1.log"]


def test_the_local_launcher_ends_with_the_code_of_the_worker_that_failed(tmp_path):
    launcher = _local([*_flags(tmp_path / "runs" / "first"), "--batch_size=63"], tmp_path)
    assert launcher.code == 2, launcher
    for index in (0, 1):
        assert launcher.out.count(f"[{index}] --batch_size=63 cannot be split over 2 replicas") == 1
    # A bad flag is never tried again, and is the last thing to be read.
    assert "--batch_size=63 cannot be split" in launcher.out.splitlines()[-1]
    assert not (tmp_path / "runs").exists()
