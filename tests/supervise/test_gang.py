import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.supervise.sources import ALARM, DEADLINE_SECONDS, DEAF, FOREVER, ROOT, command, name_in
from tfscale.supervise import gang as module
from tfscale.supervise.gang import Gang, Streams

PACKAGE = (
    *("attempts", "commands", "echo", "gang", "group_attempt", "lines", "restart_policy"),
    *("restarts", "run_progress", "stop_signals"),
)


def _deadline():
    return time.monotonic() + DEADLINE_SECONDS


def _wait_for(path):
    deadline = _deadline()
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.01)


@pytest.fixture
def signalled(monkeypatch):
    """The (group, signal) of every `os.killpg`; one for a group that was reaped fails at once."""
    calls, killpg = [], os.killpg

    def checked(group, number):
        # ChildProcessError where the number is nobody's, or another's, by now.
        os.waitid(os.P_PID, group, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        calls.append((group, number))
        killpg(group, number)

    monkeypatch.setattr(module.os, "killpg", checked)
    return calls


def test_a_member_ends_with_its_code():
    with Gang() as gang:
        members = [gang.start(command(f"sys.exit({code})")) for code in (0, 3)]
        assert [member.wait(_deadline()) for member in members] == [0, 3]


def test_a_member_that_a_signal_ended_has_its_negative_number():
    with Gang() as gang:
        assert gang.start(command("os.kill(os.getpid(), 11)")).wait(_deadline()) == -11


def test_a_member_that_runs_at_the_deadline_has_no_code():
    with Gang() as gang:
        assert gang.start(command(FOREVER)).wait(time.monotonic()) is None


def test_a_member_runs_in_its_folder_with_its_environment_alone(tmp_path):
    with (tmp_path / "out").open("w+") as out, Gang() as gang:
        show = command("print(os.getcwd(), os.environ.get('HOME'), os.environ['WORD'])")
        streams = Streams(stdout=out)
        member = gang.start(show, environ={"WORD": "yes"}, folder=tmp_path, streams=streams)
        assert member.wait(_deadline()) == 0
        assert (tmp_path / "out").read_text() == f"{tmp_path} None yes\n"


@pytest.mark.promise("signals")
def test_whatever_ends_the_context_ends_the_members(lifeline, tmp_path):
    hold, wait = lifeline
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Gang() as gang:
        for name in "ab":
            gang.start(command(hold + DEAF + name_in(tmp_path / name) + FOREVER))
            _wait_for(tmp_path / name)
        raise KeyboardInterrupt
    assert wait() == b"xx"
    assert time.monotonic() - started < DEADLINE_SECONDS / 2, "the gang ended them, no alarm"


def test_what_an_ended_member_left_behind_is_killed(lifeline, tmp_path):
    hold, wait = lifeline
    child = "import os, time; open({!r}, 'w').close(); time.sleep(10)".format(str(tmp_path / "on"))
    leaves = f"subprocess.Popen([sys.executable, '-S', '-c', {child!r}], pass_fds=[line])\n"
    leaves += f"while not os.path.exists({str(tmp_path / 'on')!r}): time.sleep(0.01)\n"
    with Gang() as gang:
        assert gang.start(command(hold + leaves)).wait(_deadline()) == 0
        assert wait() == b"x"


def test_a_group_is_never_signalled_after_it_was_reaped(signalled):
    with Gang() as gang:
        ended = gang.start(command(""))
        assert ended.wait(_deadline()) == 0
        assert signalled == [(ended.pid, signal.SIGKILL)], "for what it left behind"
        ended.send(signal.SIGTERM)
        ended.kill()
        killed = gang.start(command(FOREVER))
        killed.kill()
        killed.kill()
    assert signalled == [(each.pid, signal.SIGKILL) for each in (ended, killed)]


def test_a_group_whose_end_nobody_has_seen_is_signalled_before_it_is_reaped(signalled):
    with Gang() as gang:
        member = gang.start(command(""))
        os.waitid(os.P_PID, member.pid, os.WEXITED | os.WNOWAIT)
        member.send(signal.SIGTERM)
        assert signalled == [(member.pid, signal.SIGKILL)]
        assert member.poll() == 0


def test_a_group_that_the_system_reaped_is_not_signalled(signalled):
    previous = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with Gang() as gang:
            member = gang.start(command(""))
            assert member.wait(_deadline()) == 0
            member.kill()
    finally:
        signal.signal(signal.SIGCHLD, previous)
    assert not signalled


def test_a_system_that_cannot_look_without_reaping_still_ends_what_was_left(monkeypatch):
    calls = []
    monkeypatch.delattr(module.os, "waitid")
    monkeypatch.setattr(module.os, "killpg", lambda group, number: calls.append(group))
    with Gang() as gang:
        member = gang.start(command(""))
        assert member.wait(_deadline()) == 0
        member.send(signal.SIGTERM)
        assert calls == [member.pid]


def test_the_guard_forgets_a_group_before_it_is_reaped(monkeypatch):
    told = []
    with Gang() as gang:
        member = gang.start(command(""))

        def tell(guard, group):
            os.waitid(os.P_PID, group, os.WEXITED | os.WNOWAIT)  # still there, as a zombie
            told.append(group)

        monkeypatch.setattr(module._Guard, "tell", tell)
        assert member.wait(_deadline()) == 0
        assert told == [member.pid]


def test_the_guard_ends_the_groups_on_its_list_and_no_others():
    with Gang() as gang:
        listed, forgotten = (gang.start(command(FOREVER)) for _ in range(2))
        guard = module._Guard()
        for group in (listed.pid, forgotten.pid, forgotten.pid):
            guard.tell(group)
        guard._process.stdin.close()  # what the end of its owner is to it
        guard._process.wait(DEADLINE_SECONDS)
        assert listed.wait(_deadline()) == -signal.SIGKILL
        assert forgotten.poll() is None


def test_a_guard_that_was_killed_does_not_end_the_gang():
    with Gang() as gang:
        gang._guard._process.kill()
        gang._guard._process.wait()
        assert gang.start(command("sys.exit(3)")).wait(_deadline()) == 3


def test_a_program_that_is_not_there_ends_those_that_were_started(lifeline, tmp_path):
    hold, wait = lifeline
    with pytest.raises(FileNotFoundError), Gang() as gang:
        gang.start(command(hold + name_in(tmp_path / "on") + FOREVER))
        _wait_for(tmp_path / "on")
        gang.start(["/no/such/program"])
    assert wait() == b"x"


@contextlib.contextmanager
def _owner(program):
    """A process that owns a gang and may be killed; it says "ready" when its worker runs."""
    words = [sys.executable, "-c", ALARM + program]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


OWNERS = {
    "a benchmark": """
from tfscale.supervise.answers import Workers
with Workers([("worker", {words!r})]) as workers:
    workers.answers({seconds})
    print("ready", flush=True)
    workers.answers({seconds})
""",
    "a test": """
import threading
from tests.jobs.workers import start_all
def tell():
    while not os.path.exists({path!r}): time.sleep(0.01)
    print("ready", flush=True)
threading.Thread(target=tell).start()
start_all([{words!r}], deadline_seconds={seconds})
""",
}


@pytest.mark.promise("signals")
@pytest.mark.parametrize("who", OWNERS)
def test_workers_do_not_outlive_an_owner_that_is_killed(who, lifeline, tmp_path):
    hold, wait = lifeline
    path = tmp_path / "on"
    worker = hold + DEAF + name_in(path) + "print('{}', flush=True)\n" + FOREVER
    program = OWNERS[who].format(words=command(worker), path=str(path), seconds=DEADLINE_SECONDS)
    with _owner(program) as owner:
        assert owner.stdout.readline() == "ready\n"
        killed = time.monotonic()
        owner.kill()
        assert wait() == b"x"
    assert time.monotonic() - killed < DEADLINE_SECONDS / 2, "the guard ended it, no alarm"


def test_the_package_imports_neither_tensorflow_nor_keras():
    modules = ", ".join(f"tfscale.supervise.{name}" for name in PACKAGE)
    heavy = "{'tensorflow', 'keras', 'numpy'} & set(sys.modules)"
    source = f"import sys, {modules}; sys.exit(str({heavy}) if {heavy} else 0)"
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
