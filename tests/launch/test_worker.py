"""The worker with a supervisor, as somebody types it."""

import sys

import pytest

from tests.jobs.workers import ROOT, start_all

DEADLINE_SECONDS = 120


def _run(*flags):
    program = [sys.executable, str(ROOT / "launch" / "worker.py"), "--restarts=3", *flags]
    (ended,) = start_all([program], deadline_seconds=DEADLINE_SECONDS)
    return ended


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--run_dir={}", "--dataset=datasets/nope.py"], "There is no file datasets/nope.py"),
        (["--run_dir={}", "--index=1"], "--index=1 came without --hosts"),
        (["--dataset=datasets/digits.py"], "--run_dir is missing"),
        (["--run_dir={}", "--epochs=0"], "--epochs=0 is out of range"),
    ],
)
def test_a_bad_flag_is_never_tried_again(tmp_path, flags, words):
    run_dir = tmp_path / "runs" / "first"
    given = [flag.format(run_dir) for flag in flags]
    ended = _run(*given, "--model=models/mlp.py")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(words)
    assert ended.err.count("\n") == 1, "the worker has said it, the supervisor adds nothing"
    assert not run_dir.parent.exists()


def test_a_dry_run_needs_no_supervisor(tmp_path):
    flags = ["--dataset=datasets/digits.py", "--model=models/mlp.py", f"--run_dir={tmp_path}/run"]
    ended = _run(*flags, "--dry_run")
    assert (ended.code, ended.err) == (0, "")
    assert "run directory" in ended.out
    assert not (tmp_path / "run").exists()
