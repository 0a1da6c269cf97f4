"""What a program does last, in processes of their own: each ends by `leave`."""

import subprocess
import sys

from tests.jobs.workers import ROOT

START = """
import signal, threading
signal.alarm(30)
from tfscale.process import exit
from tfscale.process.exit import done_on_leaving, leave
"""


def _ended(source):
    command = [sys.executable, "-c", START + source]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_work_is_done_on_leaving_from_any_thread():
    leaves = "threading.Thread(target=leave, args=[7]).start(); threading.Event().wait()"
    ended = _ended(f"with done_on_leaving(lambda: print('done', flush=True)):\n    {leaves}")
    assert (ended.returncode, ended.stdout) == (7, "done\n"), ended.stderr


def test_what_is_over_is_not_done_again():
    body = "with done_on_leaving(lambda: print('done', flush=True)):\n    pass\nleave(0)"
    assert _ended(body).stdout == ""


def test_work_that_hangs_does_not_hold_up_the_end():
    hangs = "exit._PATIENCE_SECONDS = 0.1\nwith done_on_leaving(threading.Event().wait):\n"
    assert _ended(f"{hangs}    leave(7)").returncode == 7
