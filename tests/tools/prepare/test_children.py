import contextlib
import os
import select
import signal
import subprocess
import sys

import pytest

from tests.jobs.workers import ROOT
from tfscale.errors import ConfigError, SharedFailure, WorkerError
from tools.prepare.children import spread

DEADLINE_SECONDS = 60
# What starts one that tells its number when it has begun, and would never end.
PARENT = """
import sys
from tests.tools.prepare.test_children import hold
from tools.prepare.children import spread
if __name__ == "__main__":
    spread(hold, [sys.argv[1]], lambda pid: print(pid, flush=True))
"""


def square(number, tell):
    tell(number)
    tell(number * number)


def fail(kind, tell):
    if kind == "config":
        raise ConfigError("--split=dev; expected train.")
    if kind == "other":
        raise OSError("no such share")
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()  # until somebody ends it


def hold(fifo, tell):
    os.open(fifo, os.O_WRONLY)
    tell(os.getpid())
    signal.pause()


def test_every_share_is_worked_on_and_told_of():
    told = []
    spread(square, [2, 3], told.append)
    assert sorted(told) == [2, 3, 4, 9]


def test_no_share_is_no_work():
    spread(square, [], pytest.fail)


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("config", ConfigError, "--split=dev; expected train."),
        ("other", SharedFailure, "OSError: no such share"),
        ("killed", WorkerError, "ended with code -9"),
    ],
)
def test_one_that_fails_ends_the_others_too(kind, error, words):
    with pytest.raises(error, match=words):
        spread(fail, ["never", kind], lambda number: None)


def test_whoever_fails_while_they_work_ends_them(tmp_path):
    def broken(number):
        raise KeyboardInterrupt

    with _fifo(tmp_path) as (path, has_ended):
        with pytest.raises(KeyboardInterrupt):
            spread(hold, [path], broken)
        assert has_ended()


def test_they_end_when_the_process_that_started_them_is_killed(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    with _fifo(tmp_path) as (path, has_ended):
        parent = subprocess.Popen(
            [sys.executable, str(tmp_path / "parent.py"), path],
            stdout=subprocess.PIPE,
            env=dict(os.environ, PYTHONPATH=str(ROOT)),
            start_new_session=True,
        )
        try:
            assert int(parent.stdout.readline()) != parent.pid
            parent.kill()
            assert has_ended()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(parent.pid, signal.SIGKILL)
            parent.communicate()


@contextlib.contextmanager
def _fifo(folder):
    """A FIFO, and what waits until the last process that has opened it has ended."""
    path = str(folder / "fifo")
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def has_ended():
        return select.select([reading], [], [], DEADLINE_SECONDS)[0] and not os.read(reading, 1)

    yield path, has_ended
    os.close(reading)
