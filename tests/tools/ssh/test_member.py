"""A member by itself, whose input and output are this process's."""

import json
import os
import subprocess
import sys
import time

import pytest

from tests.supervise.sources import DEADLINE_SECONDS, FOREVER, ROOT
from tests.tools.ssh.fake_ssh import repository
from tools.ssh.messages import GO, STOP, Order, Record

MEMBER = """
import sys
from tools.ssh import member
member.LOST_SECONDS = {lost}
sys.exit(member.main())
"""


@pytest.fixture
def member(tmp_path):
    """Starts one whose worker is a source; gives the process."""
    started = []

    def start(source, *, lost=DEADLINE_SECONDS, **order):
        repository(tmp_path / "there", source)
        process = subprocess.Popen(
            [sys.executable, "-c", MEMBER.format(lost=lost)],
            cwd=tmp_path / "there",
            env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CONFIG": "{}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        order = Order(("launch/worker.py", "--index=0", "--overwrite"), mark="mark", **order)
        _say(process, order.as_text())
        return process

    yield start
    for process in started:
        process.kill()
        with process:  # waits for it and closes its pipes
            pass


def _say(process, word):
    process.stdin.write(f"{word}\n")
    process.stdin.flush()


def _record(process):
    return Record.of_line(process.stderr.readline().removeprefix("mark"))


def _commit(run_dir, step):
    (run_dir / "checkpoints" / f"step-{step:010d}").mkdir(parents=True)


def test_nothing_starts_before_it_is_known_what_was_there(member, tmp_path):
    _commit(tmp_path / "run", 7)
    process = member("print('started', flush=True)", run_dir=str(tmp_path / "run"))
    before = json.loads(_record(process).before)
    assert list(before["checkpoints"]) == ["7"]
    process.stdin.close()
    process.wait(DEADLINE_SECONDS)
    assert process.stdout.read() == ""


def test_it_tells_each_step_and_the_end_and_ends_as_its_worker(member, tmp_path):
    run_dir = tmp_path / "run"
    source = f"""
os.makedirs({str(run_dir)!r} + '/checkpoints/step-0000000012')
open(os.environ['TFSCALE_END_RECORD'], 'w').write('said')
print(sys.argv[2:], os.environ.get('TF_CONFIG'))
sys.exit(75)
"""
    process = member(source, run_dir=str(run_dir))
    _record(process)
    _say(process, GO)
    assert _record(process) == Record(step=12)
    assert _record(process) == Record(code=75, end="said")
    assert process.wait(DEADLINE_SECONDS) == 75
    assert process.stdout.read() == "['--overwrite'] None\n"


def test_what_was_committed_since_the_first_attempt_is_not_overwritten(member, tmp_path):
    run_dir, source = tmp_path / "run", "print(sys.argv[2:])"
    _commit(run_dir, 7)
    first = member(source, run_dir=str(run_dir))
    before = _record(first).before
    _commit(run_dir, 8)
    (tmp_path / "there").rename(tmp_path / "first")
    second = member(source, run_dir=str(run_dir), before=before)
    assert _record(second).before == before
    _say(second, GO)
    assert second.stdout.readline() == "['--overwrite', '--nooverwrite']\n"
    assert _record(second) == Record(step=8)


@pytest.mark.promise("remote")
def test_a_worker_whose_courier_falls_silent_is_killed(member, lifeline):
    hold, wait = lifeline
    process = member(hold + "print('ready', flush=True)\n" + FOREVER, lost=1.0)
    _record(process)
    _say(process, GO)
    assert process.stdout.readline() == "ready\n"
    began = time.monotonic()
    assert wait() == b"x"
    assert time.monotonic() - began < DEADLINE_SECONDS / 2, "no alarm has ended it"
    assert process.wait(DEADLINE_SECONDS) == 137


def test_a_word_to_stop_is_one_sigterm(member):
    saves = (
        "signal.signal(signal.SIGTERM, lambda *_: (print('saved', flush=True), os._exit(143)))\n"
    )
    process = member(saves + "print('ready', flush=True)\n" + FOREVER)
    _record(process)
    _say(process, GO)
    assert process.stdout.readline() == "ready\n"
    _say(process, STOP)
    assert process.stdout.readline() == "saved\n"
    assert process.wait(DEADLINE_SECONDS) == 143
