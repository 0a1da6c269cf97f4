"""The benchmarks as programs: one short run of each, with all that they write."""

import json
import subprocess
import sys

import pytest

from tests.jobs.workers import ROOT

pytestmark = pytest.mark.long

DEADLINE_SECONDS = 200


def _run(*words):
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_profile_is_measured_drawn_and_put_on_a_timeline(tmp_path):
    layers = [
        {"name": f"layer_{n}", "shape": [64, 64], "forward_ms": 2, "backward_ms": 4}
        for n in range(3)
    ]
    profile = tmp_path / "small.json"
    profile.write_text(json.dumps({"name": "small", "examples_per_step": 8, "layers": layers}))
    out = tmp_path / "out"
    systems = "tfscale:wire_dtype=float16:bucket_mb=0.01,bare,stock"
    shown = _run(
        "launch/bench.py",
        f"--profile={profile}",
        "--workers=1,2",
        f"--systems={systems}",
        "--blocks=2",
        "--block_seconds=0.1",
        f"--out={out}",
    )
    rows = json.loads((out / "scaling.json").read_text())
    assert {(row["system"], row["workers"]) for row in rows} == {
        (system, workers) for system in systems.split(",") for workers in (1, 2)
    }
    for row in rows:
        assert len(row["step_seconds"]) == 2
        # Three layers that wait 6 ms each: no step can be shorter.
        assert min(row["step_seconds"]) >= 0.018
        assert row["efficiency_low"] <= row["efficiency"] <= row["efficiency_high"]
        assert row["baseline"] == "one worker"
    assert (out / "scaling.md").read_text() in shown
    trace = json.loads((out / "timeline-small.json").read_text())["traceEvents"]
    names = [event["cat"] for event in trace if event["ph"] == "X" and event["pid"] == 1]
    counts = {lane: names.count(lane) for lane in ("forward", "backward", "all-reduce", "update")}
    # Three tensors of 16 KiB in buckets of 10 kB are two pieces each.
    assert counts == {"forward": 3, "backward": 3, "all-reduce": 6, "update": 1}
    for picture in ("scaling.png", "timeline-small.png"):
        assert (out / picture).read_bytes().startswith(b"\x89PNG")


def test_whole_programs_are_compared(tmp_path):
    shown = _run("launch/compare.py", "--blocks=1", "--epochs=1", "--steps=4", f"--out={tmp_path}")
    measured = json.loads((tmp_path / "whole.json").read_text())
    assert set(measured) == {"tfscale", "tfscale, each alone", "stock"}
    for (run,) in measured.values():
        assert 0 < run["first_step_seconds"] < run["process_seconds"]
        assert run["images_per_second"] > 0
    assert (tmp_path / "whole.md").read_text() in shown


def test_what_cannot_be_measured_is_refused_at_once(tmp_path):
    for words, reason in [
        (["--profile=nothing"], "--profile=nothing is not there"),
        (["--profile=wait-12", "--systems=horovod"], "--systems=horovod is unknown"),
        ([], "Neither --profile nor --model"),
        (["--profile=wait-12", "--workers=0"], "--workers=0"),
    ]:
        done = subprocess.run(
            [sys.executable, "launch/bench.py", f"--out={tmp_path}/out", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
        )
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert reason in done.stderr
    assert not (tmp_path / "out").exists()


def test_reading_is_compared(tmp_path):
    shown = _run(
        "launch/bench_data.py",
        "--formats=tfrecord,memory",
        "--blocks=1",
        "--seconds=0",
        "--examples=128",
        f"--out={tmp_path}",
    )
    written = json.loads((tmp_path / "reading.json").read_text())
    measured = {(row["data_set"], row["system"]) for row in written["rows"]}
    ours = ("tfscale", "bare tf.data", "tfscale, 2 workers")
    assert measured >= {(name, system) for name in ("tfrecord", "memory") for system in ours}
    assert all(row["examples_per_second_median"] > 0 for row in written["rows"])
    assert len(written["position_seconds"]) == 1
    assert (tmp_path / "reading.md").read_text() in shown


def test_a_machine_that_is_lent_leaves_a_summary_however_short_the_time(tmp_path):
    out = tmp_path / "found"
    command = ["launch/gpu_check.py", "--devices=2", "--minutes=1", f"--out={out}"]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    summary = json.loads((out / "summary.json").read_text())
    steps = {step["name"]: step for step in summary["steps"]}
    assert steps["doctor"]["code"] == 0
    assert steps["training"]["code"] == 0
    assert not steps["profile"]["is_begun"]
    assert (out / "training" / "report.json").exists()
    assert (out / "summary.md").read_text() in done.stdout
    assert done.returncode == (1 if steps["driver"]["code"] else 0)  # nvidia-smi isn't there
    again = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert again.returncode == 2
    assert "expected a new folder" in again.stderr
