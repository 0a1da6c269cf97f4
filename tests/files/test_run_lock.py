"""One run a folder, on one machine and on several, with and without locks of the file system."""

import contextlib
import dataclasses
import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.jobs.workers import ROOT
from tfscale.errors import CONFIG_CODE, ConfigError
from tfscale.files import run_holder, run_lock
from tfscale.files.run_holder import Holder
from tfscale.files.run_lock import RunLock

pytestmark = pytest.mark.promise("two_runs")

DEADLINE_SECONDS = 30
HOLDS = """
import os, signal, sys, time
from pathlib import Path
from tfscale.files.run_lock import RunLock
signal.alarm({seconds})
lock = RunLock(Path({folder!r}), print)
sys.stdout.write((lock.take() or "taken") + "\\n")
sys.stdout.flush()
{then}
"""


@contextlib.contextmanager
def _process(folder, then="time.sleep(99)"):
    """Another process that tries to take the folder, and what it says of that."""
    source = HOLDS.format(seconds=DEADLINE_SECONDS, folder=str(folder), then=then)
    streams = {"stdout": subprocess.PIPE, "stdin": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", source], cwd=ROOT, **streams) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@contextlib.contextmanager
def _taken(folder, said=None):
    lock = RunLock(folder, (said if said is not None else []).append)
    try:
        yield lock, lock.take()
    finally:
        lock.release()


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def _record(folder, *, seconds_ago=0.0, **changed):
    """The record of a process, by default one of another machine."""
    other = {"system": "another", "host": "node7", "pid": 77, **changed}
    dataclasses.replace(Holder.of_this_process(), **other).write(folder)
    then = time.time() - seconds_ago
    os.utime(folder / run_holder.RECORD, (then, then))


@pytest.fixture
def quick(monkeypatch):
    """Beats and looks at them, fifty times as fast."""
    monkeypatch.setattr(run_holder, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(run_holder, "_WATCH_SECONDS", 0.4)
    monkeypatch.setattr(run_holder, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(run_lock, "_DYING_SECONDS", 0.2)


@pytest.fixture
def without_locks(monkeypatch):
    def refused(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refused)


@pytest.fixture
def unwatched(monkeypatch):
    """Whoever has to be watched before the folder is had fails the test."""

    def watched(folder):
        raise AssertionError(f"{folder} was watched")

    monkeypatch.setattr(run_holder, "beats_on", watched)


def test_a_second_process_is_refused_with_the_name_of_the_first(tmp_path):
    with _process(tmp_path) as (first, said), _taken(tmp_path) as (_, reason):
        assert said == "taken"
        assert f"--run_dir={tmp_path} is held by another run, pid {first.pid} on " in reason
        assert f"kill {first.pid} on " in reason
        assert "; expected " in reason
        assert "\n" not in reason
        assert _names(tmp_path) == [run_holder.RECORD, run_lock.LOCK]


def test_who_is_refused_first_is_so_again(tmp_path):
    with _process(tmp_path):
        for _ in range(2):
            with _taken(tmp_path) as (_, reason):
                assert "is held by another run" in reason


def test_the_command_is_named_if_it_is_short(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["launch/worker.py", "--epochs=3"])
    with _taken(tmp_path), _process(tmp_path) as (_, said):
        assert "(launch/worker.py --epochs=3); expected" in said
    monkeypatch.setattr(sys, "argv", ["launch/worker.py", "x" * 500])
    with _taken(tmp_path), _process(tmp_path) as (_, said):
        assert f"pid {os.getpid()}" in said
        assert "launch/worker.py" not in said


def test_a_holder_that_was_killed_leaves_nothing_stale(tmp_path, unwatched):
    with _process(tmp_path) as (first, _):
        first.send_signal(signal.SIGKILL)
        with _taken(tmp_path) as (_, reason):
            assert reason == ""


def test_a_killed_holder_that_nobody_has_waited_for_is_gone_without_locks_too(
    tmp_path, without_locks, unwatched
):
    with _process(tmp_path) as (first, _):
        first.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
        with _taken(tmp_path) as (_, reason):
            assert reason == ""


def test_a_child_that_lives_on_does_not_keep_the_folder(tmp_path, unwatched):
    forks = "child = os.fork()\nif child: print(child, flush=True)\ntime.sleep(99)"
    with _process(tmp_path, forks) as (first, _):
        child = int(first.stdout.readline())
        assert child > 1
        first.kill()
        first.wait()
        try:
            os.kill(child, 0)
            with _taken(tmp_path) as (_, reason):
                assert reason == ""
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_forked_child_that_gives_it_back_takes_nothing_from_its_parent(tmp_path):
    forks = "os.fork() or (lock.release(), os._exit(0)); os.wait(); print('over', flush=True)"
    with _process(tmp_path, f"{forks}; time.sleep(99)") as (first, _):
        assert first.stdout.readline() == "over\n"
        with _taken(tmp_path) as (_, reason):
            assert f"pid {first.pid}" in reason


def test_nothing_stays_and_the_next_one_gets_it(tmp_path):
    folder = tmp_path / "runs" / "first"
    for _ in range(2):
        with _taken(folder) as (_, reason):
            assert reason == ""
            assert folder.stat().st_mode & 0o777 == 0o700
        assert _names(tmp_path) == []
    (tmp_path / "notes.txt").write_text("mine")
    with _taken(tmp_path):
        pass
    assert _names(tmp_path) == ["notes.txt"]


def test_what_the_run_has_left_stays(tmp_path):
    folder = tmp_path / "runs" / "first"
    with _taken(folder):
        (folder / "report.json").write_text("{}")
    assert _names(folder) == ["report.json"]


def test_a_folder_that_cannot_be_had_is_left_to_the_claim(tmp_path):
    (tmp_path / "file").write_text("")
    with _taken(tmp_path / "file" / "run") as (_, reason):
        assert reason == ""
    with _taken(tmp_path / "file") as (_, reason):
        assert reason == ""
    assert _names(tmp_path) == ["file"]


@pytest.mark.usefixtures("quick")
def test_a_machine_that_beats_on_holds_the_folder_whose_locks_are_each_machines_own(tmp_path):
    _record(tmp_path)
    over = threading.Event()

    def beat():
        while not over.wait(0.05):
            os.utime(tmp_path / run_holder.RECORD)

    beating, said = threading.Thread(target=beat), []
    beating.start()
    try:
        with _taken(tmp_path, said) as (_, reason):
            assert "is held by another run, pid 77 on node7 since " in reason
    finally:
        over.set()
        beating.join()
    assert "was held a moment ago by pid 77 on node7" in said[0]
    assert run_holder.read(tmp_path).pid == 77, "it is the other's"


@pytest.mark.usefixtures("quick")
def test_a_machine_that_beats_no_more_has_lost_the_folder(tmp_path):
    _record(tmp_path)
    with _taken(tmp_path) as (_, reason):
        assert reason == ""
        assert run_holder.read(tmp_path).pid == os.getpid()


def test_an_old_record_of_another_machine_is_none(tmp_path, unwatched):
    _record(tmp_path, seconds_ago=60)
    with _taken(tmp_path) as (_, reason):
        assert reason == ""


def test_this_machines_clock_does_not_count(tmp_path, unwatched, monkeypatch):
    _record(tmp_path, seconds_ago=60)
    monkeypatch.setattr(time, "time", lambda: os.stat(tmp_path / run_holder.RECORD).st_mtime)
    with _taken(tmp_path) as (_, reason):
        assert reason == ""


def test_a_reboot_leaves_nothing_stale(tmp_path, unwatched):
    own = Holder.of_this_process()
    _record(tmp_path, seconds_ago=60, host=own.host, pid=1, system="before the reboot")
    with _taken(tmp_path) as (_, reason):
        assert reason == ""


@pytest.mark.parametrize("changed", [{"born": "1"}, {"pid": 2**22 + 1}])
def test_a_number_that_is_another_processs_now_is_no_holder(tmp_path, unwatched, changed):
    own = Holder.of_this_process()
    _record(tmp_path, **{"system": own.system, "pid": os.getppid(), "born": own.born} | changed)
    with _taken(tmp_path) as (_, reason):
        assert reason == ""


def test_without_locks_a_running_process_holds_the_folder_by_its_record(tmp_path, without_locks):
    with _process(tmp_path) as (first, _), _taken(tmp_path) as (_, reason):
        assert f"pid {first.pid}" in reason
    assert run_holder.RECORD in _names(tmp_path)


def test_without_locks_nothing_stays_either(tmp_path, without_locks):
    with _taken(tmp_path) as (_, reason):
        assert reason == ""
        assert _names(tmp_path) == [run_holder.RECORD]
    assert _names(tmp_path) == []


@pytest.mark.usefixtures("quick", "without_locks")
def test_of_two_that_took_it_at_once_the_one_that_was_written_over_ends(tmp_path):
    ended, ends = [], threading.Event()

    def end(reason, code):
        ended.append((reason, code))
        ends.set()

    with _taken(tmp_path) as (lock, _):
        lock.ends_by(end)
        _record(tmp_path)
        assert ends.wait(DEADLINE_SECONDS)
    ((reason, code),) = ended
    assert code == CONFIG_CODE
    assert "is held by another run, pid 77 on node7" in reason
    assert run_holder.read(tmp_path).pid == 77, "the winner's record stays"


@pytest.mark.usefixtures("quick")
def test_who_has_lost_it_before_it_could_end_ends_as_soon_as_it_can(tmp_path):
    with _taken(tmp_path) as (lock, _):
        _record(tmp_path)
        _until(lambda: lock._lost)
        ended = []
        lock.ends_by(lambda reason, code: ended.append(code))
        assert ended == [CONFIG_CODE]


@pytest.mark.usefixtures("quick")
def test_a_folder_that_was_removed_is_not_made_but_one_that_is_there_again_is_held(tmp_path):
    folder = tmp_path / "run"
    with _taken(folder) as (lock, _):
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        assert lock._look() is None
        assert not folder.exists()
        folder.mkdir()
        _until(lambda: run_holder.read(folder) is not None)
        with _process(folder) as (_, said):
            assert f"is held by another run, pid {os.getpid()}" in said
        assert lock._lost == ""
    assert _names(tmp_path) == []


@pytest.mark.usefixtures("quick")
def test_who_takes_a_folder_that_was_made_anew_ends_the_earlier_one(tmp_path):
    folder = tmp_path / "run"
    with _taken(folder) as (lock, _):
        folder.rename(tmp_path / "moved")
        with _process(folder) as (other, said):
            assert said == "taken"
            _until(lambda: lock._lost)
            assert f"pid {other.pid}" in lock._lost
            lock.release()
            assert run_holder.read(folder).pid == other.pid
            assert run_lock.LOCK in _names(folder)


def _until(is_true):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_lock_whose_name_is_gone_is_not_taken_for_the_folders(tmp_path, monkeypatch):
    (tmp_path / run_lock.LOCK).write_text("")
    lockf, times = fcntl.lockf, []

    def removed_meanwhile(descriptor, how):
        times.append(how)
        if len(times) == 1:
            (tmp_path / run_lock.LOCK).unlink()
        lockf(descriptor, how)

    monkeypatch.setattr(fcntl, "lockf", removed_meanwhile)
    with _taken(tmp_path), _process(tmp_path) as (_, said):
        assert "is held by another run" in said
    assert len(times) == 2


def test_a_launcher_asks_without_taking_or_making_anything(tmp_path):
    run_lock.require_free(tmp_path / "none")
    run_lock.require_free(tmp_path)
    assert _names(tmp_path) == []
    with _process(tmp_path) as (first, _):
        with pytest.raises(ConfigError, match=f"is held by another run, pid {first.pid}"):
            run_lock.require_free(tmp_path)
        assert run_lock.is_anothers(tmp_path)
        first.kill()
        first.wait()
        run_lock.require_free(tmp_path)
        assert not run_lock.is_anothers(tmp_path)
    _record(tmp_path)
    run_lock.require_free(tmp_path)
    assert run_lock.is_anothers(tmp_path), "whether it beats, its own chief has to find out"


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", '{"pid": "1"}', '{"pid": true}', '{"pid": 1, "more": 2}', "[" * 9999],
)
def test_a_record_of_anything_holds_nothing(tmp_path, unwatched, text):
    (tmp_path / run_holder.RECORD).write_text(text)
    with _taken(tmp_path) as (_, reason):
        assert reason == ""


def test_what_somebody_has_written_into_a_record_is_one_line(tmp_path):
    with _process(tmp_path) as (first, _):
        _record(tmp_path, host="a\n\x1b[2Jb", command="c\rd" * 200, pid=first.pid)
        with _taken(tmp_path) as (_, reason):
            assert r"on a\n\x1b[2Jb since" in reason
            assert not set("\n\r\x1b") & set(reason)
            assert len(reason) < 1500
