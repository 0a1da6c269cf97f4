"""What starts the workers of all other tests here."""

import signal
import sys

from tests.jobs.workers import Ended, start_all


def _command(source):
    return [sys.executable, "-S", "-c", source]


def test_every_worker_tells_its_code_and_both_its_streams():
    source = "import sys; print('é {0}'); sys.stderr.write('err {0}'); sys.exit({0})"
    commands = [_command(source.format(number)) for number in (0, 3)]
    ended = start_all(commands, deadline_seconds=10)
    assert ended == [Ended(number, f"é {number}\n", f"err {number}") for number in (0, 3)]


def test_a_worker_that_runs_at_its_deadline_is_killed_and_what_it_said_is_kept():
    source = "import time; print('started', flush=True); time.sleep(60)"
    (ended,) = start_all([_command(source)], deadline_seconds=0.5)
    assert ended == Ended(None, "started\n", "")


def test_a_worker_that_a_signal_ended_has_its_negative_number():
    (ended,) = start_all([_command("import os; os.kill(os.getpid(), 9)")], deadline_seconds=10)
    assert ended.code == -signal.SIGKILL


def test_a_worker_has_no_cluster_that_it_was_not_given(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{}")
    source = "import os; print(os.environ.get('TF_CONFIG'), os.environ['WORD'])"
    (ended,) = start_all([_command(source)], deadline_seconds=10, environ={"WORD": "yes"})
    assert ended.out == "None yes\n"
