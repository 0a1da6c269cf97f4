import subprocess
import sys
import threading

import pytest

from tests.jobs.workers import ROOT
from tfscale.errors import ConfigError
from tfscale.files import once as once_module
from tfscale.files.once import marker_of, once

DEADLINE_SECONDS = 60

# Waits for a line, so that all start at once; its words are the folder and a word of its own.
PROCESS = """
import sys
from pathlib import Path
from tfscale.files.once import once
folder, word = Path(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
if word != "mortal":
    sys.stdin.readline()
def work():
    if word == "mortal":
        print("begun", flush=True)
        sys.stdin.readline()
    with open(folder / "log", "a") as log:
        log.write(word + " begins\\n")
    (folder / "result").write_text(word)
did = once(folder, "download", work)
print(did, (folder / "result").read_text(), flush=True)
"""


def _start(folder, word):
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(folder), word],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _all_at_once(folder, words):
    """What each process says when all are let go at the same time."""
    started = [_start(folder, word) for word in words]
    try:
        for process in started:
            assert process.stdout.readline() == "ready\n"
        for process in started:
            process.stdin.write("\n")
            process.stdin.flush()
        return [process.communicate(timeout=DEADLINE_SECONDS)[0] for process in started]
    finally:
        for process in started:
            process.kill()
            process.communicate()


def test_of_three_processes_one_does_the_work_and_all_see_it_done(tmp_path):
    said = _all_at_once(tmp_path, ["a", "b", "c"])
    (winner,) = [text.split()[1] for text in said if text.startswith("True")]
    assert sorted(said) == [f"False {winner}\n"] * 2 + [f"True {winner}\n"]
    assert (tmp_path / "log").read_text() == f"{winner} begins\n"


def test_who_waits_takes_over_from_a_process_that_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(once_module, "_SAY_SECONDS", 0.01)
    mortal = _start(tmp_path, "mortal")
    done = []
    try:
        assert [mortal.stdout.readline() for _ in range(2)] == ["ready\n", "begun\n"]
        # It has the lock until somebody says that they wait for it.
        assert once(tmp_path, "download", lambda: done.append(1), say=lambda line: mortal.kill())
    finally:
        mortal.kill()
        mortal.communicate()
    assert done == [1]
    assert marker_of(tmp_path, "download").exists()


def test_work_that_was_done_is_not_done_again(tmp_path):
    done = []
    assert once(tmp_path / "new", "work", lambda: done.append(1))
    assert not once(tmp_path / "new", "work", lambda: done.append(2))
    assert done == [1]


def test_another_name_is_other_work(tmp_path):
    done = []
    assert once(tmp_path, "first", lambda: done.append(1))
    assert once(tmp_path, "second", lambda: done.append(2))
    assert done == [1, 2]


def test_work_that_raises_is_tried_by_the_next_one(tmp_path):
    def fail():
        raise KeyError("no network")

    with pytest.raises(KeyError, match="no network"):
        once(tmp_path, "work", fail)
    assert not marker_of(tmp_path, "work").exists()
    assert once(tmp_path, "work", lambda: None)
    assert marker_of(tmp_path, "work").exists()


def test_what_the_work_leaves_can_say_that_it_was_done(tmp_path):
    result = tmp_path / "result"
    assert once(tmp_path, "work", result.touch, is_done=result.exists)
    assert not once(tmp_path, "work", result.touch, is_done=result.exists)
    assert not marker_of(tmp_path, "work").exists()
    result.unlink()
    assert once(tmp_path, "work", result.touch, is_done=result.exists)


def test_who_waits_says_so_and_goes_on_when_it_is_done(tmp_path, monkeypatch):
    monkeypatch.setattr(once_module, "_SAY_SECONDS", 0.01)
    begun, heard = threading.Event(), threading.Event()
    lines, did = [], {}

    def work():
        begun.set()
        assert heard.wait(DEADLINE_SECONDS)

    def say(line):
        lines.append(line)
        heard.set()

    first = threading.Thread(target=lambda: did.update(first=once(tmp_path, "work", work)))
    first.start()
    assert begun.wait(DEADLINE_SECONDS)
    did["second"] = once(tmp_path, "work", work, say=say)
    first.join(DEADLINE_SECONDS)
    assert did == {"first": True, "second": False}
    assert lines[0].startswith(f"waiting for another process's work in {tmp_path} (")


@pytest.fixture
def read_only(tmp_path, monkeypatch):
    """A folder that may only be read, as a share or a part of a container is."""
    folder = tmp_path / "share"
    folder.mkdir()
    can_be_written = once_module.can_be_written
    monkeypatch.setattr(once_module, "cache_folder", lambda name: tmp_path / "home" / name)
    monkeypatch.setattr(
        once_module, "can_be_written", lambda one: one != folder and can_be_written(one)
    )
    return folder


def test_what_is_all_there_needs_no_lock(read_only, tmp_path):
    assert not once(read_only, "work", lambda: pytest.fail("done again"), is_done=lambda: True)
    assert not (tmp_path / "home").exists()


def test_a_lock_of_what_may_only_be_read_lies_with_the_user(read_only, tmp_path):
    done = []
    assert once(read_only, "work", lambda: done.append(1))
    assert not once(read_only, "work", lambda: done.append(2))
    assert done == [1]
    assert tmp_path / "home" in marker_of(read_only, "work").parents
    assert not list(read_only.iterdir())
    other = tmp_path / "other"
    other.mkdir()
    assert once(other, "work", lambda: done.append(3))


def test_where_nothing_can_be_written_there_is_nothing_to_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(once_module, "can_be_written", lambda folder: False)
    done = []
    assert once(tmp_path, "work", lambda: done.append(1))
    assert once(tmp_path, "work", lambda: done.append(2))
    assert done == [1, 2]


def test_a_name_that_leads_elsewhere_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="'../work' has a name that no file can have"):
        once(tmp_path, "../work", lambda: None)
