import os
import sys
import threading
import time
from pathlib import Path

import pytest

from tools.doctor.time_limits import Status, all_within, ask, within


def _ask(source, seconds=30.0):
    return ask([sys.executable, "-S", "-c", source], seconds, os.environ)


def test_a_command_that_answers_is_done():
    assert _ask("print('yes')") == (found := _ask("print('yes')"))
    assert (found.status, found.text) == (Status.DONE, "yes\n")


def test_one_that_fails_has_said_why():
    found = _ask("import sys; sys.exit('no driver')")
    assert (found.status, found.text) == (Status.FAILED, "no driver\n")


def test_a_program_that_is_not_there_is_missing():
    assert ask(["no-such-program"], 5.0, os.environ).status == Status.MISSING


def test_one_that_never_returns_is_killed_with_what_it_has_started(tmp_path):
    source = (
        "import os, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
        "time.sleep(60)"
    )
    assert _ask(source, seconds=2.0).status == Status.HANGS
    pid = int((tmp_path / "pid").read_text())
    for _ in range(500):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            state = "gone"
        if state in ("Z", "gone"):
            break
        time.sleep(0.01)
    assert state in ("Z", "gone")


def test_work_that_hangs_is_left_behind():
    never = threading.Event()
    found = all_within(0.2, [lambda: never.wait(30), lambda: "done"], "late")
    assert found == ["late", "done"]
    never.set()


def test_what_the_system_refuses_is_nothing_and_a_mistake_is_raised():
    assert within(5.0, lambda: Path("/no/such/file").read_text(), "nothing") == "nothing"
    with pytest.raises(KeyError):
        within(5.0, lambda: {}["a"], "nothing")
