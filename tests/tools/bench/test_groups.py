import contextlib
import os
import signal
import sys
import time

import pytest

from tfscale.errors import WorkerError
from tfscale.process.cores import num_cores, share_of_cores
from tools.bench import groups, module_commands
from tools.bench.groups import Cell, Group
from tools.bench.links import ShapedLink
from tools.bench.task import Task, Variant

DEADLINE_SECONDS = 20
VARIANT = Variant.parse("stock")
TASK = Task(Variant.parse("tfscale"), "tiny-mlp", batch_size=8)

# What every worker here begins with. No one outlives its deadline, whatever the group does.
BEGINNING = f"""#!{sys.executable} -S
import json, os, signal, subprocess, sys, time
signal.alarm({DEADLINE_SECONDS})
task = json.loads(sys.argv[-1])
open(os.path.join(os.path.dirname(sys.argv[0]), str(os.getpid())), "w").close()


def answer(**values):
    print(json.dumps(values), flush=True)


"""
# Says what it was asked: its seconds are the steps of the order plus the place in the cluster.
OBEDIENT = """
answer(seconds=0)
for line in sys.stdin:
    answer(seconds=int(line) + task["index"], peak_bytes=1)
"""
ECHO = """
answer(seconds=0)
for line in sys.stdin:
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    answer(**task, seen=seen, cores=len(os.sched_getaffinity(0)))
"""


@pytest.fixture
def workers_are(tmp_path, monkeypatch):
    """Puts a program in the place of the workers; at the end none of them is alive."""

    def put(source):
        program = tmp_path / "worker"
        program.write_text(BEGINNING + source)
        program.chmod(0o755)
        monkeypatch.setattr(module_commands.sys, "executable", str(program))

    yield put
    alive = [pid for pid in _started(tmp_path) if _is_alive(pid)]
    for pid in alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not alive


def _started(folder):
    return [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]


def _is_alive(pid):
    """Whether it runs; what only waits for its adoptive parent to look at it does not."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/stat") as f:
        return f.read().rpartition(")")[2].split()[0] not in "ZX"
    return False


def _group(workers=2, **changes):
    return Group(Cell(VARIANT, workers, **changes), TASK, ShapedLink())


def test_every_worker_answers_every_order(workers_are):
    workers_are(OBEDIENT)
    with _group(3) as group:
        group.wait()
        assert [answer["seconds"] for answer in group.run(10)] == [10, 11, 12]
        assert [answer["seconds"] for answer in group.run(20)] == [20, 21, 22]


def test_the_parts_of_a_step_are_asked_for_after_one_step(workers_are):
    workers_are("""
answer(seconds=0)
orders = []
for line in sys.stdin:
    orders.append(int(line))
    answer(orders=orders)
""")
    with _group(1) as group:
        group.wait()
        assert group.step_times() == [{"orders": [1, 0]}]


def test_coupled_workers_get_the_same_hosts_and_each_its_place(workers_are):
    workers_are(ECHO)
    with _group(2) as group:
        group.wait()
        first, second = group.run(1)
    assert first["hosts"] == second["hosts"]
    assert len(set(first["hosts"])) == 2
    assert all(host.startswith("127.0.0.1:") for host in first["hosts"])
    assert [first["index"], second["index"]] == [0, 1]
    assert first["variant"]["system"] == "stock", "the system is the cell's"
    assert first["batch_size"] == 8, "the rest is the task's"


@pytest.mark.parametrize(("workers", "coupled"), [(1, True), (2, False)])
def test_workers_alone_know_of_no_others(workers_are, workers, coupled):
    workers_are(ECHO)
    with _group(workers, coupled=coupled) as group:
        group.wait()
        answers = group.run(1)
    assert [(answer["hosts"], answer["index"]) for answer in answers] == [([], 0)] * workers


@pytest.mark.parametrize(("gpus", "seen"), [(0, None), (3, "0,1,2")])
def test_a_worker_sees_only_its_gpus(workers_are, monkeypatch, gpus, seen):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    workers_are(ECHO)
    with _group(1, gpus=gpus) as group:
        group.wait()
        assert [answer["seen"] for answer in group.run(1)] == [seen]


@pytest.mark.parametrize(
    ("system", "coupled", "is_limited"),
    [("tfscale", False, True), ("tfscale", True, False), ("stock", False, False)],
)
def test_workers_that_train_alone_share_the_cores_as_they_do_together(
    workers_are, system, coupled, is_limited
):
    workers_are(ECHO)
    with Group(Cell(Variant.parse(system), 2, coupled), TASK, ShapedLink()) as group:
        group.wait()
        found = [answer["cores"] for answer in group.run(1)]
    parts = [len(share_of_cores(2, index)) for index in range(2)]
    assert found == (parts if is_limited else [num_cores()] * 2)


@pytest.mark.parametrize(("cell", "replicas"), [((1,), 1), ((4,), 4), ((1, True, 0.0, 8), 8)])
def test_gpus_of_one_worker_count_as_replicas(cell, replicas):
    assert Cell(VARIANT, *cell).replicas == replicas


def test_a_worker_that_ends_early_is_named_with_the_end_of_its_log(workers_are):
    workers_are("""
for number in range(30):
    sys.stderr.write(f"line {number} \\xff\\n")
sys.exit(1)
""")
    with pytest.raises(WorkerError) as raised, _group(1) as group:
        group.wait()
    first, *log = str(raised.value).splitlines()
    assert first == "stock, worker 0 ended. The end of its log:"
    assert [line.split()[:2] for line in log] == [["line", str(n)] for n in range(15, 30)]


def test_the_worker_that_ended_is_named_while_another_waits_for_it(workers_are):
    workers_are("""
if task["index"] == 1:
    sys.exit("no memory")
time.sleep(3600)
""")
    started = time.monotonic()
    with pytest.raises(WorkerError, match="worker 1 ended.*\nno memory"), _group(2) as group:
        group.wait()
    assert time.monotonic() - started < DEADLINE_SECONDS / 2


def test_a_worker_that_ends_in_a_block_is_named(workers_are):
    workers_are("""
answer(seconds=0)
sys.stdin.readline()
sys.exit("out of range")
""")
    with pytest.raises(WorkerError, match="worker 0 ended.*\nout of range"), _group(1) as group:
        group.wait()
        group.run(5)


def test_a_worker_that_ended_between_two_blocks_is_named(workers_are, tmp_path):
    workers_are("answer(seconds=0)\nsys.exit('gone')\n")
    with pytest.raises(WorkerError, match="worker 0 ended.*\ngone"), _group(1) as group:
        group.wait()
        (pid,) = _started(tmp_path)
        _wait_until(lambda: not _is_alive(pid))
        group.run(5)


def test_a_worker_that_does_not_answer_in_time_is_named(workers_are):
    workers_are("""
sys.stderr.write("busy\\n")
answer(seconds=0)
line = sys.stdin.readline()
if task["index"] == 0:
    answer(seconds=1)
time.sleep(3600)
""")
    with _group(2) as group:
        group.wait()
        with pytest.raises(WorkerError, match="worker 1 did not answer in time.*\nbusy"):
            group.run(5, timeout_seconds=0.5)


def test_a_start_that_takes_too_long_is_given_up(workers_are, monkeypatch):
    monkeypatch.setattr(groups, "_START_SECONDS", 0.2)
    workers_are("time.sleep(3600)\n")
    with pytest.raises(WorkerError, match="worker 0 did not answer in time"), _group(2) as group:
        group.wait()


# The fixture sees to it that these leave nobody behind.


def test_what_ignores_gentle_signals_ends_with_the_group(workers_are, tmp_path):
    workers_are("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + OBEDIENT)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), _group(2) as group:
        group.wait()
        assert len(_started(tmp_path)) == 2
        raise KeyboardInterrupt
    assert time.monotonic() - started < DEADLINE_SECONDS / 2, "the group ended them, no alarm"


@pytest.mark.parametrize("then", ["time.sleep(3600)", "sys.exit(0)"], ids=["alive", "ended"])
def test_what_a_worker_started_ends_with_the_group(workers_are, tmp_path, then):
    workers_are(f"""
if sys.argv[1] != "-m":
    time.sleep(3600)
subprocess.Popen([sys.argv[0], sys.argv[-1]], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
answer(seconds=0)
{then}
""")
    with _group(1) as group:
        group.wait()
        _wait_until(lambda: len(_started(tmp_path)) == 2)
    _wait_until(lambda: not any(map(_is_alive, _started(tmp_path))))


def test_the_first_worker_ends_when_the_second_cannot_be_started(workers_are, tmp_path):
    class Failing(ShapedLink):
        def command(self, index):
            if index == 0:
                return []
            _wait_until(lambda: len(_started(tmp_path)) == 1)
            return ["/nowhere/ip"]

    workers_are(OBEDIENT)
    with pytest.raises(FileNotFoundError):
        Group(Cell(VARIANT, 2), TASK, Failing(("one", "two")))


def _wait_until(is_so):
    deadline = time.monotonic() + DEADLINE_SECONDS / 2  # before an alarm does it
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert is_so()
