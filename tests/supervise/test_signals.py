"""Launchers that are stopped, killed or held up, each a process of its own, with short workers."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.supervise.sources import ALARM, DEADLINE_SECONDS, DEAF, FOREVER, ROOT, command
from tfscale.supervise import gang as module
from tfscale.supervise.gang import Gang

pytestmark = pytest.mark.promise("signals")

READY = "os.write(1, b'ready\\n')\n"  # `print` can't be interrupted by itself
SAVES = "signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b'saved\\n'), os._exit(143)))\n"
PROGRAM = """
from pathlib import Path
from tfscale.process import stop_request
from tfscale.supervise import restart_policy
from tfscale.supervise.restarts import supervise
from tfscale.supervise.group_attempt import Launch
stop_request._SAME_SECONDS = {same_seconds}
restart_policy.Budget._pause = lambda self, failures: {pause_seconds}
commands = {commands!r}
times = dict(failing_seconds=0.1, saving_seconds={saving_seconds})
launch = Launch(lambda goes_on: commands, dict(os.environ), {run_dir}, **times)
sys.exit(supervise(launch, restarts={restarts}))
"""


@contextlib.contextmanager
def _launcher(
    *sources,
    restarts=3,
    saving_seconds=DEADLINE_SECONDS,
    pause_seconds=0.01,
    same_seconds=0.0,
    run_dir=None,
):
    program = PROGRAM.format(
        commands=[command(source) for source in sources],
        restarts=restarts,
        saving_seconds=saving_seconds,
        pause_seconds=pause_seconds,
        same_seconds=same_seconds,
        run_dir=f"Path({str(run_dir)!r})" if run_dir else None,
    )
    words = [sys.executable, "-c", ALARM + program]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(words, **streams, text=True, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def _until(launcher, words, times=1):
    """Reads lines until these words have come so often."""
    for line in launcher.stdout:
        times -= words in line
        if not times:
            return
    pytest.fail(f"{words!r} never came")


def _end(launcher):
    """The lines that are left, and the exit code."""
    rest, _ = launcher.communicate(timeout=DEADLINE_SECONDS)
    return rest.splitlines(), launcher.returncode


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_save_once_and_the_launcher_ends_with_them(number, workers):
    began = time.monotonic()
    with _launcher(*[SAVES + READY + FOREVER] * workers) as launcher:
        _until(launcher, "ready", workers)
        launcher.send_signal(number)
        lines, code = _end(launcher)
    assert sum(line.rpartition("] ")[2] == "saved" for line in lines) == workers
    assert f"[launch] {number.name} came" in "\n".join(lines)
    assert lines[-1] == f"[launch] stopped by {number.name}; no new checkpoint"
    assert code == 143
    assert time.monotonic() - began < DEADLINE_SECONDS, "not after the whole grace"


def test_the_last_line_says_from_where_the_same_command_goes_on(tmp_path):
    commits = f"os.makedirs('{tmp_path}/checkpoints/step-0000000012')\n"
    with _launcher(SAVES + commits + READY + FOREVER, run_dir=tmp_path) as launcher:
        _until(launcher, "ready")
        launcher.send_signal(signal.SIGTERM)
        lines, _ = _end(launcher)
    expected = "the last checkpoint: step 12, from which the same command resumes"
    assert lines[-1] == f"[launch] stopped by SIGTERM; {expected}"


def test_a_worker_that_does_not_end_is_killed_after_the_time_for_saving_and_named():
    with _launcher(SAVES + READY + FOREVER, DEAF + READY + FOREVER, saving_seconds=0.3) as launcher:
        _until(launcher, "ready", 2)
        launcher.send_signal(signal.SIGTERM)
        lines, code = _end(launcher)
    assert lines[-1].endswith("not ended by themselves: worker 1")
    assert code == 143


def test_a_second_signal_kills_at_once():
    with _launcher(*[DEAF + READY + FOREVER] * 2, saving_seconds=60.0) as launcher:
        _until(launcher, "ready", 2)
        launcher.send_signal(signal.SIGINT)
        _until(launcher, "SIGINT came")
        launcher.send_signal(signal.SIGINT)
        lines, code = _end(launcher)
    assert lines[-1].endswith("not ended by themselves: worker 0, 1")
    assert code == 130


def test_two_signals_at_once_are_one_wish():
    slow = "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), os._exit(143)))\n"
    with _launcher(slow + READY + FOREVER, same_seconds=60.0) as launcher:
        _until(launcher, "ready")
        launcher.send_signal(signal.SIGTERM)
        _until(launcher, "SIGTERM came")
        launcher.send_signal(signal.SIGTERM)
        lines, code = _end(launcher)
    assert "not ended by themselves" not in lines[-1]
    assert code == 143


def test_a_run_that_was_done_when_the_signal_came_is_done():
    done = "signal.signal(signal.SIGTERM, lambda *_: os._exit(0))\n" + READY + FOREVER
    with _launcher(done) as launcher:
        _until(launcher, "ready")
        launcher.send_signal(signal.SIGTERM)
        lines, code = _end(launcher)
    assert (lines[-1], code) == ("[launch] SIGTERM came when the run was done", 0)


def test_a_worker_that_fails_while_it_saves_is_not_started_again():
    fails = "signal.signal(signal.SIGTERM, lambda *_: os._exit(1))\n" + READY + FOREVER
    with _launcher(fails) as launcher:
        _until(launcher, "ready")
        launcher.send_signal(signal.SIGTERM)
        lines, code = _end(launcher)
    assert "ready" not in lines
    assert code == 143


def test_a_signal_between_two_attempts_ends_the_launcher():
    with _launcher("sys.exit(1)", pause_seconds=60.0) as launcher:
        _until(launcher, "The next one begins")
        launcher.send_signal(signal.SIGTERM)
        lines, code = _end(launcher)
    assert lines == ["[launch] ended between two attempts, stopped by SIGTERM"]
    assert code == 143


def test_a_stopped_worker_is_told_as_well():
    stopped = SAVES + READY + "os.kill(os.getpid(), signal.SIGSTOP)\n" + FOREVER
    with _launcher(stopped, stopped) as launcher:
        _until(launcher, "ready", 2)
        launcher.send_signal(signal.SIGTERM)
        lines, code = _end(launcher)
    assert sum(line.rpartition("] ")[2] == "saved" for line in lines) == 2
    assert code == 143


def test_a_launcher_that_was_stopped_itself_goes_on_where_it_was(tmp_path):
    first = f"first = not os.path.exists('{tmp_path}/mark')\nopen('{tmp_path}/mark', 'w')\n"
    source = (
        first + READY + f"while first and not os.path.exists('{tmp_path}/go'): time.sleep(0.01)"
    )
    with _launcher(source + "\nsys.exit(1 if first else 0)\n") as launcher:
        _until(launcher, "ready")
        launcher.send_signal(signal.SIGSTOP)
        # The worker fails while nobody looks.
        (tmp_path / "go").touch()
        assert os.waitid(os.P_PID, launcher.pid, os.WSTOPPED | os.WNOWAIT) is not None
        launcher.send_signal(signal.SIGCONT)
        lines, code = _end(launcher)
    assert "ready" in lines
    assert code == 0


def test_nothing_outlives_a_launcher_that_is_killed_in_its_second_attempt(lifeline, tmp_path):
    hold, wait = lifeline
    first = f"first = not os.path.exists('{tmp_path}/mark')\nopen('{tmp_path}/mark', 'w')\n"
    rest = DEAF + hold + READY + FOREVER
    waits = f"while not os.path.exists('{tmp_path}/mark'): time.sleep(0.01)\n" + rest
    with _launcher(first + "if first: time.sleep(0.5); sys.exit(1)\n" + rest, waits) as launcher:
        _until(launcher, "The next one begins")
        _until(launcher, "ready", 2)
        killed = time.monotonic()
        launcher.kill()
        assert len(wait()) >= 2
    assert time.monotonic() - killed < DEADLINE_SECONDS / 2, "the guard ended them, no alarm"


def _ignores(pid, number):
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(line for line in status.splitlines() if line.startswith("SigIgn")).split()[1]
    return int(mask, 16) >> (number - 1) & 1


@pytest.mark.skipif(sys.platform != "linux", reason="whether the guard has begun is read in /proc")
def test_what_ends_all_processes_of_a_job_leaves_the_guard_until_its_owner_has_ended():
    with Gang() as gang:
        member, guard = gang.start(command(FOREVER)), module._Guard()
        guard.tell(member.pid)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not _ignores(guard._process.pid, signal.SIGTERM) and time.monotonic() < deadline:
            time.sleep(0.01)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            os.kill(guard._process.pid, number)
        guard._process.stdin.close()  # what the end of its owner is to it
        guard._process.wait(DEADLINE_SECONDS)
        assert member.wait(deadline) == -signal.SIGKILL
