import json
import os
import sys

import pytest

from tests.supervise.sources import DEADLINE_SECONDS, ROOT
from tfscale.errors import ConfigError
from tools.ssh import launches as module
from tools.ssh.launches import Launches, state_folder

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from tools.ssh.launches import Launches
signal.alarm({seconds})
def work():
    print("works", flush=True)
    while not os.path.exists({end!r}):
        time.sleep(0.01)
    return {code}
sys.exit(Launches(Path({folder!r})).run(work))
"""


@pytest.fixture
def launches(tmp_path):
    yield Launches(tmp_path / "launches")
    while module._detached:
        module._detached.pop().wait(2 * DEADLINE_SECONDS)


def _command(launches, code=0):
    program = PROGRAM.format(
        root=str(ROOT),
        seconds=DEADLINE_SECONDS,
        folder=str(launches.folder),
        end=str(launches.folder / "may-end"),
        code=code,
    )
    return [sys.executable, "-c", program]


def test_each_run_of_a_user_has_a_folder_of_its_own(tmp_path):
    keys = [("worker", "/a", "runs/x"), ("worker", "/a", "runs/y"), ("worker", "/aruns", "/x")]
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    folders = {state_folder(environ, *key) for key in keys}
    assert len(folders) == len(keys)
    assert all(tmp_path in folder.parents for folder in folders)
    assert state_folder(environ, *keys[0]) in folders


def test_a_launch_leaves_its_exit_code_also_by_an_error(launches, capsys):
    assert launches.run(lambda: 75) == 75
    launches.status()
    assert "ended with exit code 75" in capsys.readouterr().out
    for error, code in ((ConfigError("no"), 2), (KeyboardInterrupt(), 130), (OSError("x"), 1)):
        with pytest.raises(type(error)):
            launches.run(lambda error=error: (_ for _ in ()).throw(error))
        launches.status()
        assert f"ended with exit code {code}" in capsys.readouterr().out
    assert launches.folder.stat().st_mode & 0o077 == 0


def test_a_detached_launch_is_followed_to_its_exit_code(launches, capfd):
    assert launches.detach(_command(launches, code=7)) == 0
    assert "goes on as process" in capfd.readouterr().out
    with pytest.raises(ConfigError, match="launched already: pid"):
        launches.detach(_command(launches))
    (launches.folder / "may-end").touch()
    assert launches.attach() == 7
    assert capfd.readouterr().out == "works\n"


def test_a_detached_launch_that_does_not_begin_says_why(launches, capfd):
    refuses = "import sys; sys.exit(print('no such flag') or 2)"
    assert launches.detach([sys.executable, "-c", refuses]) == 2
    assert "no such flag" in capfd.readouterr().err


def test_a_detached_launcher_that_was_killed_ends_who_follows(launches, capfd):
    launches.detach(_command(launches))
    record = json.loads((launches.folder / ".tfscale-run-holder.json").read_text())
    os.kill(record["pid"], 9)
    assert launches.attach() == 1
    assert "ended without a word" in capfd.readouterr().out


def test_lines_of_an_earlier_launch_are_not_shown_for_those_of_this_one(launches):
    (launches.folder / "may-end").parent.mkdir()
    (launches.folder / "may-end").touch()
    assert launches.detach(_command(launches)) in (0, 1)
    launches.attach()
    launches.run(lambda: 0)
    with pytest.raises(ConfigError, match="--attach found no launch"):
        launches.attach()


def test_what_was_never_launched_says_so(launches, capsys):
    assert launches.status() == launches.stop() == 0
    assert "was never launched here" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="--detach"):
        launches.attach()
