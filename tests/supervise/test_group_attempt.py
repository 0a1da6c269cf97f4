import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.supervise.sources import (
    ALARM,
    DEADLINE_SECONDS,
    DEAF,
    FOREVER,
    ROOT,
    command,
    name_in,
)
from tfscale.process.stop_request import StopWish
from tfscale.supervise import gang, group_attempt
from tfscale.supervise.group_attempt import Launch
from tfscale.supervise.restarts import supervise


def _after_the_end_of(path):
    """Waits until the launcher has reaped the worker that named itself in the file."""
    return f"""
while True:
    try:
        os.kill(int(open({str(path)!r}).read()), 0)
    except FileNotFoundError:
        pass
    except ProcessLookupError:
        break
    time.sleep(0.01)
"""


def _run(*sources, grace_seconds=0.1, run_dir=None):
    commands = [command(source) for source in sources]
    return supervise(
        Launch(lambda goes_on: commands, os.environ, run_dir, failing_seconds=grace_seconds)
    )


@contextlib.contextmanager
def _launcher(*sources, grace_seconds=5.0):
    """A launcher that may be signalled, because it is not this process."""
    program = "from tfscale.supervise.restarts import supervise\n"
    program += "from tfscale.supervise.group_attempt import Launch\n"
    program += f"commands = {[command(source) for source in sources]!r}\n"
    program += f"launch = Launch(lambda _: commands, {{}}, saving_seconds={grace_seconds})\n"
    program += "sys.exit(supervise(launch))"
    words = [sys.executable, "-c", ALARM + program]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_lines_of_several_workers_carry_their_index(capsys):
    both = "print('out', flush=True); print('err', file=sys.stderr)"
    assert _run(both, both) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines) == ["[0] err", "[0] out", "[1] err", "[1] out"]


def test_lines_arrive_whole_before_their_worker_ends(capsys):
    # Nothing is flushed and the worker is killed: without an unbuffered pipe the line was lost.
    assert _run("print('last words'); os.kill(os.getpid(), 9)", "") == 137
    assert "[0] last words\n" in capsys.readouterr().out


def test_progress_bars_and_letters_of_no_encoding_become_lines(capsys):
    _run(r"sys.stdout.buffer.write(b'1/2\r2/2\r\n\xff end')", "")
    assert capsys.readouterr().out == "[0] 1/2\n[0] 2/2\n[0] � end\n"


def test_many_lines_of_many_workers_all_arrive_in_order(capsys):
    _run(*["for number in range(2000): print(number)"] * 3)
    lines = capsys.readouterr().out.splitlines()
    for index in range(3):
        own = [line for line in lines if line.startswith(f"[{index}] ")]
        assert own == [f"[{index}] {number}" for number in range(2000)]


def test_a_worker_alone_has_the_terminal_to_itself(capfd, tmp_path):
    assert _run(r"sys.stdout.write('1/2\r2/2\n')", run_dir=tmp_path) == 0
    assert capfd.readouterr().out == "1/2\r2/2\n"
    assert not list(tmp_path.iterdir())


def test_a_worker_that_succeeds_early_does_not_end_the_others(capsys, tmp_path):
    pid = tmp_path / "pid"
    assert _run(name_in(pid), _after_the_end_of(pid) + "print('done')", grace_seconds=0) == 0
    assert "[1] done" in capsys.readouterr().out


def test_the_code_of_the_first_that_fails_is_the_launchers(capsys, tmp_path):
    pid = tmp_path / "pid"
    later, first = _after_the_end_of(pid) + "sys.exit(4)", name_in(pid) + "sys.exit(3)"
    assert _run(later, first, grace_seconds=5) == 3
    shown = capsys.readouterr().out
    assert "[launch] worker 1 ended with exit code 3; the rest has 5 s" in shown
    assert shown.splitlines()[-1].endswith("worker 1 ended with exit code 3")


def test_a_worker_killed_by_a_signal_counts_as_in_a_shell():
    assert _run("os.kill(os.getpid(), signal.SIGSEGV)", FOREVER) == 128 + signal.SIGSEGV


def test_others_may_end_by_themselves_after_a_failure(capsys, tmp_path):
    pid = tmp_path / "pid"
    saves = _after_the_end_of(pid) + "print('saved')"
    assert _run(name_in(pid) + "sys.exit(3)", saves, grace_seconds=5) == 3
    assert "[1] saved" in capsys.readouterr().out


def test_others_that_do_not_end_after_a_failure_are_killed(lifeline, tmp_path):
    hold, wait = lifeline
    ready = tmp_path / "ready"
    fails = f"while not os.path.exists({str(ready)!r}): time.sleep(0.01)\nsys.exit(3)"
    assert _run(fails, hold + DEAF + name_in(ready) + FOREVER) == 3
    assert wait() == b"x"


def test_what_a_worker_started_ends_with_it(lifeline):
    hold, wait = lifeline
    start = hold + "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(10)'], "
    assert _run(start + "pass_fds=[line], stdout=subprocess.DEVNULL)", "") == 0
    assert wait() == b"x"


def test_a_command_that_cannot_start_ends_those_that_did(monkeypatch):
    started, start = [], subprocess.Popen

    def starting(*args, **kwargs):
        started.append(start(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(gang.subprocess, "Popen", starting)
    with pytest.raises(FileNotFoundError):
        commands = [command(FOREVER), ["/no/such/program"]]
        supervise(Launch(lambda goes_on: commands, os.environ))
    assert [process.returncode for process in started] == [-signal.SIGKILL] * 2  # with the guard


def test_workers_do_not_outlive_a_launcher_that_is_killed(lifeline):
    hold, wait = lifeline
    with _launcher(*[hold + DEAF + "print('ready', flush=True)\n" + FOREVER] * 2) as launcher:
        for _ in range(2):
            assert "ready" in launcher.stdout.readline()
        killed = time.monotonic()
        launcher.kill()
        assert wait() == b"xx"
    assert time.monotonic() - killed < DEADLINE_SECONDS / 2, "the guard ended them, no alarm"


def test_the_signal_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    _run("", "")
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_logs_wait_for_a_worker_to_make_the_folder_and_then_hold_every_line(tmp_path):
    run_dir = tmp_path / "runs" / "first"
    makes = f"print('early'); os.makedirs({str(run_dir)!r}); print('late')"
    assert _run(makes, "print('other')", run_dir=run_dir) == 0
    logs = {path.name: path.read_text() for path in (run_dir / "logs").iterdir()}
    assert logs == {"launch-0.log": "early\nlate\n", "launch-1.log": "other\n"}


def test_a_folder_that_no_worker_made_is_not_made(tmp_path):
    _run("print('refused')", "", run_dir=tmp_path / "first")
    assert not (tmp_path / "first").exists()


def test_a_folder_that_was_there_is_left_alone_until_the_workers_end(tmp_path):
    # A worker may be about to refuse a folder that is not empty, or to remove what is in it.
    looks = f"print('early'); print(os.listdir({str(tmp_path)!r}))"
    assert _run(looks, "", run_dir=tmp_path) == 0
    assert (tmp_path / "logs" / "launch-0.log").read_text() == "early\n[]\n"


def test_a_folder_that_a_worker_has_made_is_left_alone_until_it_has_logs(tmp_path):
    # The chief makes it before it knows whether there is a run at all.
    run = str(tmp_path / "run")
    looks = f"os.mkdir({run!r}); print('early'); time.sleep(0.1); print(os.listdir({run!r}))"
    refused = f"{looks}; os.rmdir({run!r})"
    assert _run(refused, "", run_dir=tmp_path / "run") == 0
    assert not (tmp_path / "run").exists()


def test_a_second_run_in_the_folder_appends_to_its_logs(tmp_path):
    for word in ("first", "second"):
        _run(f"print({word!r})", "", run_dir=tmp_path)
    assert (tmp_path / "logs" / "launch-0.log").read_text() == "first\nsecond\n"


def test_a_log_that_cannot_be_written_does_not_stop_the_workers(tmp_path, capsys):
    (tmp_path / "logs").write_text("a file where the folder should be")
    assert _run("print('trained')", "", run_dir=tmp_path) == 0
    assert "[0] trained" in capsys.readouterr().out


class _Held:
    """A process that the system doesn't let go, though it was killed, until that was said."""

    pid = 4321

    def __init__(self, capsys):
        self._capsys, self.said, self.signals = capsys, "", set()

    def poll(self):
        self.said += self._capsys.readouterr().out + self._capsys.readouterr().err
        return -9 if "4321" in self.said else None

    def send(self, number):
        self.signals.add(number)

    def is_stopped(self):
        return False


def test_a_process_that_is_killed_and_stays_is_named(capsys, monkeypatch):
    monkeypatch.setattr(group_attempt, "_DEAD_SECONDS", 0.05)
    held, failed = _Held(capsys), _Held(capsys)
    failed.poll = lambda: 1
    launch = Launch(lambda goes_on: [], {}, failing_seconds=0.0)
    watch = group_attempt._Watch([held, failed], launch, StopWish(), lambda: None)
    watch.until_all_have_ended()
    assert held.signals == {signal.SIGKILL}
    assert "[launch] killed, but held by the system (a device, a disk): 4321" in held.said
