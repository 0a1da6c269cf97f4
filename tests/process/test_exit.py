"""How processes end that have others: real ones, which end by themselves or at a deadline."""

import os
import subprocess
import sys

import pytest

from tests.supervise.sources import DEADLINE_SECONDS, ROOT
from tfscale.errors import End

PROGRAM = """
import concurrent.futures, multiprocessing, os, sys, tempfile
from tfscale.process.exit import forks_end_here, leave, use_own_temporary_folder
use_own_temporary_folder()
folder = tempfile.gettempdir()
"""

LEAVES = """
import signal, threading
signal.alarm(30)
from tfscale.process import exit
from tfscale.process.exit import do_on_leaving, leave
"""


def _ended(tmp_path, source):
    """A program that has ended, and with it whatever holds its output."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM + source],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        cwd=ROOT,
        env=dict(os.environ) | {"TMPDIR": str(tmp_path)},
    )


def test_a_fork_that_leaves_takes_nothing_of_its_parents_with_it(tmp_path):
    source = """
if not os.fork():
    leave(3)
code = os.waitstatus_to_exitcode(os.wait()[1])
print(code, os.path.isdir(folder), flush=True)
leave(0)
"""
    done = _ended(tmp_path, source)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 True\n", "")
    assert list(tmp_path.iterdir()) == []


def test_processes_that_wait_for_work_end_with_the_one_that_has_it(tmp_path):
    source = """
context = multiprocessing.get_context("fork")
executor = concurrent.futures.ProcessPoolExecutor(2, context)
pool = context.Pool(2)
print(*executor.map(abs, [1, -2]), *pool.map(abs, [-3]), flush=True)
leave(0)
"""
    done = _ended(tmp_path, source)
    assert (done.returncode, done.stdout) == (0, "1 2 3\n")


@pytest.mark.parametrize(
    ("ends", "code", "words"),
    [
        ("sys.exit(3)", 3, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit('of the fork')", 1, "of the fork\n"),
        ("raise ValueError('of the fork')", 1, "ValueError: of the fork\n"),
    ],
)
def test_a_fork_that_fails_ends_before_its_parents_farewells(tmp_path, ends, code, words):
    source = f"""
try:
    with forks_end_here():
        if not os.fork():
            {ends}
        print(os.waitstatus_to_exitcode(os.wait()[1]))
        raise KeyError("of the parent")
except (Exception, SystemExit) as error:
    print("farewell of", error, flush=True)
leave(0)
"""
    done = _ended(tmp_path, source)
    assert done.stdout == f"{code}\nfarewell of 'of the parent'\n"
    assert done.stderr.endswith(words)


def _left(source):
    command = [sys.executable, "-c", LEAVES + source]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_work_is_done_on_leaving_from_any_thread():
    leaves = "threading.Thread(target=leave, args=[7]).start(); threading.Event().wait()"
    ended = _left(f"with do_on_leaving(lambda: print('done', flush=True)):\n    {leaves}")
    assert (ended.returncode, ended.stdout) == (7, "done\n"), ended.stderr


def test_what_is_over_is_not_done_again():
    body = "with do_on_leaving(lambda: print('done', flush=True)):\n    pass\nleave(0)"
    assert _left(body).stdout == ""


def test_work_that_hangs_does_not_hold_up_the_end():
    hangs = "exit._PATIENCE_SECONDS = 0.1\nwith do_on_leaving(threading.Event().wait):\n"
    assert _left(f"{hangs}    leave(7)").returncode == 7


def test_an_end_is_recorded_where_somebody_asks_and_by_no_fork(tmp_path):
    source = """
from pathlib import Path
from tfscale.errors import End
from tfscale.process.exit import record_end, record_end_in
record_end(End.of(1, "nobody asks"))
record_end_in(Path("RECORD"))
record_end(End.of(3, "the first"))
if not os.fork():
    record_end(End.of(4, "of a fork"))
    leave(4)
os.wait()
record_end_in(Path("/nowhere/0.json"))
record_end(End.of(5, "can't be written"))
leave(5)
"""
    record = tmp_path / "0.json"
    done = _ended(tmp_path, source.replace("RECORD", str(record)))
    assert (done.returncode, done.stderr) == (5, "")
    assert End.of_text(record.read_text()) == End.of(3, "the first")
