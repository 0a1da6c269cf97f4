"""Folders of processes that really run, were really killed, and hold what they hold."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.supervise.sources import ALARM, DEADLINE_SECONDS, FOREVER, ROOT
from tfscale.process import temporary

HOLDS = ALARM + "from tfscale.process.temporary import own_folder\n"
HOLDS += "folder = own_folder(); (folder / 'scratch').mkdir(); print(folder, flush=True)\n"


@pytest.fixture(autouse=True)
def _folders_here(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def _holder(tmp_path, source=FOREVER):
    words = [sys.executable, "-c", HOLDS + source]
    environ = dict(os.environ) | {"TMPDIR": str(tmp_path)}
    pipe = subprocess.PIPE
    return subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, cwd=ROOT, env=environ)


def _killed(tmp_path):
    """The folder of a process that was killed."""
    with _holder(tmp_path) as process:
        name = process.stdout.readline().strip()
        process.kill()
        assert process.wait(DEADLINE_SECONDS) == -signal.SIGKILL
    return tmp_path / name


def _names(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir())


def test_the_folder_of_a_killed_process_is_removed_by_whoever_comes_next(tmp_path):
    folder = _killed(tmp_path)
    assert (folder / "scratch").is_dir()
    temporary.remove_left_behind()
    assert not folder.exists()


def test_the_folder_of_a_process_that_runs_stays(tmp_path):
    with _holder(tmp_path) as process:
        try:
            name = process.stdout.readline().strip()
            temporary.remove_left_behind()
            assert (tmp_path / name / "scratch").is_dir()
        finally:
            process.kill()


def test_the_folder_stays_while_a_fork_of_its_process_lives(tmp_path, lifeline):
    hold, wait = lifeline
    fork = "if os.fork(): os._exit(0)\n"  # an alarm is not inherited
    fork += f"signal.alarm({DEADLINE_SECONDS})\n" + hold + "os.close(1); sys.stdin.read()\n"
    with _holder(tmp_path, fork) as process:
        name, _ = process.stdout.readline().strip(), process.stdout.read()
        process.wait(DEADLINE_SECONDS)
        temporary.remove_left_behind()
        assert (tmp_path / name).exists()
    assert wait() == b"x", "its input has ended with the block"
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (tmp_path / name).exists():  # what it held is given back in no certain order
        assert time.monotonic() < deadline
        temporary.remove_left_behind()


def test_a_folder_that_is_being_made_or_nobodys_stays(tmp_path):
    (tmp_path / "tfscale-just-made").mkdir()
    (tmp_path / "tfscale-index-0").mkdir()
    (tmp_path / "tfscale-abc.log").write_text("kept for the reader")
    (tmp_path / "other").mkdir()
    before = _names(tmp_path)
    temporary.remove_left_behind()
    assert _names(tmp_path) == before


def test_a_folder_of_another_machine_or_of_a_time_before_its_last_start_stays(tmp_path):
    folder = _killed(tmp_path)
    held = (folder / ".held").read_text()
    (folder / ".held").write_text("another " + held)
    temporary.remove_left_behind()
    assert folder.exists()


def test_a_folder_of_another_user_stays(tmp_path, monkeypatch):
    folder = _killed(tmp_path)
    uid = os.geteuid()
    monkeypatch.setattr(temporary.os, "geteuid", lambda: uid + 1)
    temporary.remove_left_behind()
    assert folder.exists()


def test_a_link_to_a_folder_is_not_followed(tmp_path):
    folder = _killed(tmp_path)
    elsewhere = folder.rename(tmp_path / "elsewhere")
    (tmp_path / "tfscale-link").symlink_to(elsewhere)
    temporary.remove_left_behind()
    assert (elsewhere / "scratch").exists()


def test_of_two_that_clean_at_once_one_leaves_it_to_the_other(tmp_path, monkeypatch):
    folder = _killed(tmp_path)
    removed = []

    def remove(path, ignore_errors):
        removed.append(path)
        temporary.remove_left_behind()  # the other one, in the midst of it

    monkeypatch.setattr(temporary.shutil, "rmtree", remove)
    temporary.remove_left_behind()
    assert removed == [str(folder)]


def test_a_name_that_came_again_while_it_was_looked_at_is_another_processs(tmp_path, monkeypatch):
    folder = _killed(tmp_path)
    flock = temporary.fcntl.flock

    def replaced(number, how):
        flock(number, how)
        (folder / ".held").unlink()
        (folder / ".held").write_text(f"{temporary.running_system()}\n1")

    monkeypatch.setattr(temporary.fcntl, "flock", replaced)
    temporary.remove_left_behind()
    assert folder.exists()


def test_without_locks_there_is_a_folder_all_the_same(tmp_path, monkeypatch):
    def refused(number, how):
        raise OSError("no locks here")

    monkeypatch.setattr(temporary.fcntl, "flock", refused)
    folder = temporary.own_folder()
    temporary.remove_left_behind()
    assert folder.is_dir()


def test_the_log_of_a_killed_process_is_kept_when_its_folder_goes(tmp_path, monkeypatch):
    source = "(folder / 'tfscale-a.log').write_text('Fatal: no device')\n" + FOREVER
    with _holder(tmp_path, source.replace("\n", "; print('on', flush=True)\n", 1)) as process:
        name, _ = (process.stdout.readline().strip() for _ in range(2))
        process.kill()
    monkeypatch.setattr("tempfile.tempdir", str(temporary.own_folder()))  # as a program does
    assert temporary.kept_log(process.pid + 1) is None
    log = temporary.kept_log(process.pid)
    temporary.remove_left_behind()
    assert not (tmp_path / name).exists()
    assert log.parent == tmp_path
    assert log.read_text() == "Fatal: no device"
    assert log.name == f"{(tmp_path / name).name}.log"
    assert temporary.kept_log(process.pid) is None
