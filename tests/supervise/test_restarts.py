"""Runs of short workers that fail as they are told, over all their attempts."""

import json
import os
import signal
import time
from dataclasses import replace

import psutil
import pytest

from tests.supervise.sources import DEADLINE_SECONDS, DEAF, FOREVER, command, name_in
from tfscale.errors import End, Kind
from tfscale.startup.environment import END_RECORD
from tfscale.supervise import restart_policy
from tfscale.supervise.attempts import Attempt
from tfscale.supervise.group_attempt import Launch
from tfscale.supervise.restarts import supervise


@pytest.fixture(autouse=True)
def _pauses_are_short(monkeypatch):
    monkeypatch.setattr(restart_policy.Budget, "_pause", lambda self, failures: 0.01 * failures)


@pytest.fixture
def counted(tmp_path):
    """A worker's first lines, which set `attempt` to 1, 2 ..., and how many there were."""
    folder = tmp_path / "counted"
    folder.mkdir()

    def start(worker=0):
        return f"""
attempt = 1
while True:
    try:
        os.close(os.open(f"{folder}/{worker}-{{attempt}}", os.O_CREAT | os.O_EXCL))
        break
    except FileExistsError:
        attempt += 1
"""

    return start, lambda: len(list(folder.iterdir()))


def _commit(run_dir, step):
    """What a worker does that commits a checkpoint; `step` is of its language."""
    return f"os.makedirs(f'{run_dir}/checkpoints/step-{{{step}:010d}}', exist_ok=True)\n"


def _record(step, code=1):
    """What a worker does that says of its end what it was, and at which step."""
    text = End("any words", code, Kind.FAILURE, step).as_text()
    return f"open(os.environ['{END_RECORD}'], 'w').write({text!r})\n"


def _run(*sources, restarts=3, **options):
    commands = [command(source) for source in sources]
    launch = Launch(lambda goes_on: commands, os.environ, failing_seconds=0.1)
    return supervise(replace(launch, **options), restarts=restarts)


def _last_line(capfd):
    out, err = capfd.readouterr()
    return (out + err).splitlines()[-1]


@pytest.mark.promise("restarts")
def test_all_workers_are_started_again_when_one_was_killed(counted, capfd):
    start, count = counted
    dies = start(0) + "if attempt == 1: os.kill(os.getpid(), 9)\n"
    waits = start(1) + "if attempt == 1: time.sleep(9)\n"
    assert _run(dies, waits) == 0
    assert count() == 4
    shown = capfd.readouterr().out
    assert "[launch] worker 0 was ended by SIGKILL; the rest has 0.1 s to end" in shown
    assert "[launch] attempt 1 ended: worker 0 was ended by SIGKILL. The next one begins" in shown


def test_nothing_is_left_of_any_attempt(counted, lifeline):
    start, _ = counted
    hold, wait = lifeline
    child = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(10)'], "
    child += "pass_fds=[line], stdout=subprocess.DEVNULL)\n"
    source = start() + hold + child + "sys.exit(1 if attempt < 3 else 0)\n"
    before = {child.pid for child in psutil.Process().children()}
    assert _run(source, FOREVER.replace("10", "0.01"), restarts=3) == 0
    assert wait() == b"xxx"
    assert {child.pid for child in psutil.Process().children()} <= before  # no zombie either


@pytest.mark.promise("restarts")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_crash_loop_ends_after_three_attempts_with_its_cause_on_the_last_line(
    counted, capfd, workers
):
    start, count = counted
    fails = start() + "sys.stderr.write('ValueError: step 7\\n'); sys.exit(5)\n"
    assert _run(*[fails, ""][:workers], restarts=9) == 5
    assert count() == 3
    assert _last_line(capfd) == (
        "[launch] ended after attempt 3, 3 failures in a row without progress: "
        "worker 0 ended with exit code 5: ValueError: step 7"
    )


def test_the_code_of_a_killed_worker_is_a_shells_and_its_last_words_are_no_cause(counted, capfd):
    start, count = counted
    assert _run(start() + "print('epoch 1'); os.kill(os.getpid(), 11)", "", restarts=1) == 139
    assert count() == 2
    assert _last_line(capfd).endswith(
        "--restarts=1 used up without a new checkpoint: worker 0 was ended by SIGSEGV"
    )


@pytest.mark.promise("restarts")
@pytest.mark.parametrize("code", [2, 130, 143])
def test_what_cannot_work_or_was_meant_is_tried_once(counted, code, capfd):
    start, count = counted
    refuses = start() + f"sys.stderr.write('--seed=-1\\n'); sys.exit({code})\n"
    assert _run(refuses) == code
    assert count() == 1
    assert capfd.readouterr() == ("", "--seed=-1\n"), "the worker has said it"


def test_one_worker_that_refuses_is_enough_whoever_ends_first(counted):
    start, count = counted
    first, second = start(0) + "sys.exit(1)\n", start(1) + "time.sleep(0.3); sys.exit(2)\n"
    assert _run(first, second, failing_seconds=DEADLINE_SECONDS) == 2
    assert count() == 2


def test_a_refusal_after_a_failure_tells_the_failure_too(counted, capfd):
    start, _ = counted
    source = start() + "sys.stderr.write(['out of memory', 'holds another run'][attempt - 1])\n"
    assert _run(source + "sys.exit([1, 2][attempt - 1])\n") == 2
    line = _last_line(capfd)
    assert "holds another run" in line
    assert line.endswith("the first failure was: worker 0 ended with exit code 1: out of memory")


def test_a_run_that_gets_on_is_started_again_as_often_as_it_takes(counted, tmp_path, capfd):
    start, count = counted
    run_dir = tmp_path / "run"
    told = []
    source = start() + _commit(run_dir, "10 * attempt") + "sys.exit(1 if attempt < 7 else 0)\n"

    def commands(goes_on):
        told.append(goes_on)
        return [command(source)]

    assert supervise(Launch(commands, os.environ, run_dir), restarts=2) == 0
    assert count() == 7
    assert told == [False] + [True] * 6
    assert "from step 60 (restart 1 of 2 without progress)" in capfd.readouterr().err


SAME, OTHER = "'step 7'", "f'step {attempt}'"
CUT = f"os.truncate(os.environ['{END_RECORD}'], 20)\n"


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("record", "said", "attempts"),
    [
        (_record(7), OTHER, 3),
        (_record(None), SAME, 6),
        (_record(7, code=2), SAME, 6),  # of another end than the process's own
        (_record(7) + CUT, SAME, 6),
        ("", SAME, 6),
    ],
    ids=["step", "no step", "other code", "cut", "none"],
)
def test_what_a_worker_records_decides_and_not_what_it_says(
    counted, tmp_path, workers, record, said, attempts
):
    start, count = counted
    run_dir = tmp_path / "run"
    fails = start() + _commit(run_dir, "attempt") + record
    fails += f"sys.stderr.write({said} + '\\n'); sys.exit(1 if attempt < 6 else 0)\n"
    code = _run(*[fails, ""][:workers], run_dir=run_dir)
    assert (count(), code) == (attempts, 1 if attempts == 3 else 0)


def test_a_checkpoint_of_an_earlier_run_is_neither_progress_nor_gone_on_from(counted, tmp_path):
    start, count = counted
    (tmp_path / "checkpoints" / "step-0000000500").mkdir(parents=True)
    told = []

    def commands(goes_on):
        told.append(goes_on)
        return [command(start() + "sys.exit(1)")]

    assert supervise(Launch(commands, os.environ, tmp_path), restarts=3) == 1
    assert told == [False] * 3


def test_workers_that_wait_in_vain_for_others_are_started_more_often(counted, capfd):
    start, count = counted
    assert _run(start() + "sys.exit(75)", restarts=1) == 75
    assert count() == restart_policy.MOST_ABSENCES
    assert "the others did not come 10 times in a row" in _last_line(capfd)


def test_a_run_whose_report_is_written_is_not_started_again(counted, tmp_path, capfd):
    start, count = counted
    source = start() + f"open('{tmp_path}/report.json', 'w').write('{{}}'); sys.exit(1)\n"
    assert _run(source, run_dir=tmp_path) == 1
    assert count() == 1
    assert "its report is written" in _last_line(capfd)


def test_a_stopped_worker_does_not_take_the_time_of_those_that_can_speak(counted):
    start, count = counted
    stops = start(0) + "if attempt == 1: os.kill(os.getpid(), signal.SIGSTOP)\n"
    fails = start(1) + "if attempt == 1: time.sleep(0.5); sys.exit(1)\n"
    began = time.monotonic()
    assert _run(stops, fails, failing_seconds=60.0) == 0
    assert count() == 4
    assert time.monotonic() - began < DEADLINE_SECONDS, "no alarm comes to a stopped process"


def test_each_attempt_leaves_its_logs_and_a_file(counted, tmp_path):
    start, _ = counted
    run_dir = tmp_path / "run"
    source = start() + f"os.makedirs('{run_dir}/logs', exist_ok=True)\n"
    source += f"open('{run_dir}/logs/worker-0.log', 'a').write(f'log {{attempt}}\\n')\n"
    source += "print('said', attempt); sys.exit(1 if attempt == 1 else 0)\n"
    assert _run(source, "", run_dir=run_dir) == 0
    logs = {path.name: path.read_text() for path in (run_dir / "logs").iterdir()}
    assert sorted(logs) == ["launch-0.log", "worker-0.log"]
    for name, words in (("launch-0.log", "said"), ("worker-0.log", "log")):
        first, mark, second = logs[name].splitlines()
        assert (first, second) == (f"{words} 1", f"{words} 2")
        assert mark.startswith("[launch] attempt 1 ended: worker 0 ended with exit code 1: said 1")
    found = [
        json.loads((run_dir / "attempts" / f"worker-0.{number}.json").read_text())
        for number in (1, 2)
    ]
    assert [(each["exit_code"], each["is_final"]) for each in found] == [(1, False), (0, True)]
    assert found[0]["cause"] == "worker 0 ended with exit code 1: said 1"


# Other nodes.


def _peer_ends(run_dir, code):
    """What worker 1's supervisor would do, done by worker 0 in its place."""
    attempt = Attempt(1, 1, 0.0, 1.0, code, "--seed=-1 is out of range", None, True)
    text = json.dumps(vars(attempt))
    return (
        f"os.makedirs('{run_dir}/attempts', exist_ok=True)\n"
        f"open('{run_dir}/attempts/~', 'w').write({text!r})\n"
        f"os.rename('{run_dir}/attempts/~', '{run_dir}/attempts/worker-1.1.json')\n"
    )


def test_a_node_that_ends_for_good_ends_the_others(counted, tmp_path, capfd):
    start, count = counted
    waits = start() + DEAF + _peer_ends(tmp_path, 2) + FOREVER
    began = time.monotonic()
    assert _run(waits, run_dir=tmp_path, has_peers=True) == 2
    assert count() == 1
    assert time.monotonic() - began < DEADLINE_SECONDS / 2, "no alarm"
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "[launch] the supervisor of worker 1 has ended for good"
    assert "--seed=-1 is out of range" in lines[-1]


def test_a_node_that_ends_for_good_ends_a_pause(counted, tmp_path, monkeypatch):
    start, count = counted
    monkeypatch.setattr(restart_policy.Budget, "_pause", lambda self, failures: DEADLINE_SECONDS)
    fails = start() + _peer_ends(tmp_path, 143) + "sys.exit(1)\n"
    assert _run(fails, run_dir=tmp_path, has_peers=True) == 143
    assert count() == 1


def test_a_worker_that_saved_with_the_others_keeps_its_own_code(counted, tmp_path):
    start, count = counted
    saves = start() + _peer_ends(tmp_path, 143) + "time.sleep(0.7); sys.exit(143)\n"
    assert _run(saves, run_dir=tmp_path, has_peers=True) == 143
    assert count() == 1
    kept = json.loads((tmp_path / "attempts" / "worker-0.1.json").read_text())
    assert (kept["exit_code"], kept["is_final"]) == (143, True)


def test_a_node_alone_hears_of_nobody(counted, tmp_path):
    start, count = counted
    assert _run(start() + _peer_ends(tmp_path, 2) + "sys.exit(1)", run_dir=tmp_path) == 1
    assert count() == 3


def test_the_workers_of_a_node_are_named_by_their_place_in_the_cluster(capfd):
    assert _run("sys.exit(1)", restarts=1, worker=5, has_peers=True) == 1
    assert "worker 5 ended with exit code 1" in _last_line(capfd)


def test_a_worker_alone_keeps_its_output_and_its_error_apart(tmp_path, capfd):
    pid = tmp_path / "pid"
    source = name_in(pid) + "sys.stdout.write('1/2\\r2/2'); sys.stderr.write('a warning\\n')\n"
    assert _run(source) == 0
    assert capfd.readouterr() == ("1/2\r2/2", "a warning\n")


def test_the_signal_handlers_are_put_back():
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    _run("sys.exit(1)")
    assert [signal.getsignal(number) for number in numbers] == before
