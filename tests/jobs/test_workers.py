"""What starts the workers of all other tests here, each anew or warm."""

import os
import signal
import sys

import pytest

from tests.conftest import SINGLE, group_of
from tests.jobs import warm
from tests.jobs.workers import ROOT, Ended, free_addresses, start_all

IMPORT_SECONDS = 120  # where a warm process is the first one
WARM = pytest.mark.skipif(not warm.IS_POSSIBLE, reason="no process can be forked here")


@pytest.fixture(params=[False, pytest.param(True, marks=WARM)], ids=["anew", "warm"])
def started(request):
    """How the programs of these texts ended."""

    def start(*sources, deadline_seconds=10, **environ):
        if request.param:
            start_all([_command("")], deadline_seconds=IMPORT_SECONDS, is_warm=True)
        return start_all(
            [_command(source) for source in sources],
            deadline_seconds=deadline_seconds,
            environ=environ,
            is_warm=request.param,
        )

    return start


def _command(source):
    return [sys.executable, "-c", source]


def test_every_worker_tells_its_code_and_both_its_streams(started):
    source = "import sys; print('é {0}'); sys.stderr.write('err {0}'); sys.exit({0})"
    ended = started(*(source.format(number) for number in (0, 3)), deadline_seconds=IMPORT_SECONDS)
    assert ended == [Ended(number, f"é {number}\n", f"err {number}") for number in (0, 3)]


def test_a_worker_that_runs_at_its_deadline_is_killed_and_what_it_said_is_kept(started):
    source = "import time; print('started', flush=True); time.sleep(60)"
    (ended,) = started(source, deadline_seconds=1)
    assert ended == Ended(None, "started\n", "")


def test_a_worker_that_a_signal_ended_has_its_negative_number(started):
    (ended,) = started("import os; os.kill(os.getpid(), 9)")
    assert ended.code == -signal.SIGKILL


def test_a_worker_whose_program_raises_ends_with_the_trace(started):
    (ended,) = started("import nothing_of_this_name")
    assert ended.code == 1
    assert ended.err.rstrip().endswith("No module named 'nothing_of_this_name'")


def test_a_worker_has_no_cluster_that_it_was_not_given(started, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{}")
    source = "import os; print(os.environ.get('TF_CONFIG'), os.environ['WORD'])"
    (ended,) = started(source, WORD="yes")
    assert ended.out == "None yes\n"


def test_what_a_worker_leaves_behind_is_ended_with_it(started, tmp_path):
    lifeline = tmp_path / "lifeline"
    os.mkfifo(lifeline)
    child = f"import time; held = open({str(lifeline)!r}, 'w'); time.sleep(60)"
    # It ends when its child holds the other end, whose end is then the end of what can be read.
    source = f"""
import subprocess, sys
subprocess.Popen([sys.executable, '-S', '-c', {child!r}])
open({str(lifeline)!r})
"""
    reader = os.open(lifeline, os.O_RDONLY | os.O_NONBLOCK)
    try:
        (ended,) = started(source)
        assert ended.code == 0
        os.set_blocking(reader, True)
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)


@WARM
def test_a_warm_worker_finds_tensorflow_imported_in_a_process_like_a_new_one(tmp_path):
    (tmp_path / "mine.py").write_text("")
    source = """
import os, sys, mine
print(*(name in sys.modules for name in ("tensorflow", "keras", "tfscale", "pytest")))
print(len(os.listdir("/proc/self/task")), os.getsid(0) == os.getpid(), len(sys.stdin.read()))
print(sys.argv, "OPENBLAS_NUM_THREADS" in os.environ, os.listdir("/proc/self/fd"))
"""
    commands = [["env", "-C", str(tmp_path), *_command(source), "a", "b"]]
    (ended,) = start_all(commands, deadline_seconds=IMPORT_SECONDS, is_warm=True)
    assert ended.err == ""
    imported, process, given = ended.out.splitlines()
    assert imported == "True True False False"
    assert process == "1 True 0"
    # The last of its open files is the list of them.
    assert given == "['-c', 'a', 'b'] False ['0', '1', '2', '3']"


def test_two_workers_have_sets_in_orders_of_their_own(started):
    first, second = started(*["print(hash('a name'))"] * 2, deadline_seconds=IMPORT_SECONDS)
    assert first.code == second.code == 0
    assert first.out != second.out


def test_tests_that_run_beside_each_other_are_given_other_ports(monkeypatch):
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "3")
    found = []
    for number in range(3):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", f"gw{number}")
        addresses = free_addresses(4)
        assert len(set(addresses)) == 4
        found.append({int(address.rpartition(":")[2]) // 2 % 3 for address in addresses})
    assert found == [{0}, {1}, {2}]


def test_what_plays_scenes_is_in_one_process():
    files = [
        file
        for file in ROOT.glob("tests/**/test_*.py")
        if "\n@pytest.mark.plays(" in file.read_text()
    ]
    assert len(files) > 1
    tests = [f"{file.relative_to(ROOT)}::test_it" for file in files]
    assert {group_of(test) for test in tests} == {"scenes"}


def test_the_tests_of_a_file_are_in_one_process_unless_they_share_nothing():
    first, second = (f"tests/data/test_batches.py::test_{name}" for name in ("a", "b[1-2]"))
    assert group_of(first) == group_of(second)
    text = (ROOT / SINGLE[0]).read_text()
    assert "pytest.fixture" not in text
    assert group_of(f"{SINGLE[0]}::test_a") != group_of(f"{SINGLE[0]}::test_b")
