import json
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.supervise.sources import ROOT
from tfscale.supervise import attempts as module
from tfscale.supervise.attempts import Attempt, Attempts, mark_logs

KILLED = Attempt(
    worker=1,
    number=1,
    started=1e9,
    seconds=5.0,
    exit_code=137,
    cause="worker 1 was ended by SIGKILL",
    step=40,
    is_final=False,
)
REFUSED = replace(KILLED, exit_code=2, cause="a bad flag", is_final=True)


@pytest.fixture(autouse=True)
def _look_always(monkeypatch):
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.0)


def _files(run_dir):
    return sorted(path.name for path in (run_dir / "attempts").iterdir())


def test_each_attempt_has_a_file_and_the_next_supervisor_counts_on(tmp_path):
    attempts = Attempts(tmp_path, 1, has_peers=False)
    for number in (1, 2):
        assert attempts.next_number == number
        attempts.keep(replace(KILLED, number=number))
    assert _files(tmp_path) == ["worker-1.1.json", "worker-1.2.json"]
    kept = json.loads((tmp_path / "attempts" / "worker-1.1.json").read_text())
    assert (kept["exit_code"], kept["step"], kept["is_final"]) == (137, 40, False)
    assert Attempts(tmp_path, 1, has_peers=False).next_number == 3
    assert Attempts(tmp_path, 0, has_peers=False).next_number == 1


def test_a_folder_that_no_worker_made_is_made_only_to_tell_others(tmp_path):
    run_dir = tmp_path / "runs" / "first"
    Attempts(run_dir, 1, has_peers=False).keep(REFUSED)
    assert not run_dir.exists()
    Attempts(run_dir, 1, has_peers=True).keep(REFUSED)
    assert _files(run_dir) == ["worker-1.1.json"]
    assert run_dir.stat().st_mode & 0o777 == 0o700


def test_attempts_from_before_the_run_had_a_folder_are_filed_when_it_has_one(tmp_path):
    run_dir = tmp_path / "first"
    attempts = Attempts(run_dir, 0, has_peers=False)
    attempts.keep(replace(KILLED, worker=0))
    run_dir.mkdir()
    attempts.keep(replace(KILLED, worker=0, number=2))
    assert _files(run_dir) == ["worker-0.1.json", "worker-0.2.json"]


def test_the_final_end_of_another_node_is_heard_of(tmp_path):
    here, there = (Attempts(tmp_path, worker, has_peers=True) for worker in (0, 1))
    assert here.end_of_a_peer() is None
    there.keep(KILLED)
    assert here.end_of_a_peer() is None, "it comes back"
    there.keep(replace(REFUSED, number=2))
    assert here.end_of_a_peer() == replace(REFUSED, number=2)
    assert there.end_of_a_peer() is None, "its own is no news"


def test_the_chiefs_node_tells_nothing_in_a_folder_that_another_run_holds(tmp_path):
    source = f"""
import sys
from pathlib import Path
from tfscale.files.run_lock import RunLock
print(RunLock(Path({str(tmp_path)!r}), print).take() or "taken", flush=True)
sys.stdin.read()
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", source], cwd=ROOT, **pipes) as holder:
        assert holder.stdout.readline() == "taken\n"
        other = Attempts(tmp_path, 1, has_peers=True)
        refused = Attempts(tmp_path, 0, has_peers=True)
        refused.keep(replace(REFUSED, worker=0))
        assert not (tmp_path / "attempts").exists()
        assert other.end_of_a_peer() is None
        holder.kill()
        holder.wait()
    refused.keep(replace(REFUSED, worker=0))
    assert other.end_of_a_peer() is not None


def test_a_node_that_is_done_ends_nobody(tmp_path):
    here, there = (Attempts(tmp_path, worker, has_peers=True) for worker in (0, 1))
    there.keep(replace(REFUSED, exit_code=0))
    assert here.end_of_a_peer() is None


def test_what_was_there_at_the_start_is_no_news_whatever_the_clocks_say(tmp_path):
    Attempts(tmp_path, 1, has_peers=True).keep(replace(REFUSED, started=9e9))
    assert Attempts(tmp_path, 0, has_peers=True).end_of_a_peer() is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"number": 1}'])
def test_a_file_that_nobody_understands_ends_nobody(tmp_path, text):
    here = Attempts(tmp_path, 0, has_peers=True)
    (tmp_path / "attempts").mkdir()
    (tmp_path / "attempts" / "worker-1.1.json").write_text(text)
    assert here.end_of_a_peer() is None


def test_what_a_killed_supervisor_was_writing_is_removed_by_the_next_one_of_its_node(tmp_path):
    (tmp_path / "attempts").mkdir()
    for worker in (0, 1):
        (tmp_path / "attempts" / f".tmp-99-worker-{worker}.1.json").write_text("{")
    Attempts(tmp_path, 1, has_peers=True)
    assert _files(tmp_path) == [".tmp-99-worker-0.1.json"]


def test_a_folder_that_cannot_be_written_to_ends_nothing(tmp_path):
    (tmp_path / "attempts").write_text("a file where the folder should be")
    attempts = Attempts(tmp_path, 1, has_peers=True)
    attempts.keep(KILLED)
    assert attempts.next_number == 2
    assert attempts.end_of_a_peer() is None


def test_the_logs_say_where_an_attempt_has_ended_and_none_is_made_for_that(tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    for name in ("worker-0.log", "launch-1.log", "worker-2.log"):
        (logs / name).write_text("said\n")
    mark_logs(tmp_path, range(0, 2), "attempt 1 ended")
    assert {path.name: path.read_text() for path in logs.iterdir()} == {
        "worker-0.log": "said\n[launch] attempt 1 ended\n",
        "launch-1.log": "said\n[launch] attempt 1 ended\n",
        "worker-2.log": "said\n",
    }
    mark_logs(None, range(0, 2), "attempt 1 ended")
    mark_logs(tmp_path / "nowhere", range(0, 2), "attempt 1 ended")
