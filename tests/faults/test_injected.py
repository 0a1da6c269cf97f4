import json
import signal
import subprocess
import sys
import threading

import pytest

from tests.faults import fault_kinds
from tests.faults.fault_kinds import KINDS
from tests.faults.injected import Fault, Injector, faults_of
from tests.jobs.workers import ROOT
from tfscale.errors import ConfigError

pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    "text", ["flood@3", "sigkill", "sigkill@soon", "sigkill@3:x", "@3", "a@-1"]
)
def test_what_is_no_fault_is_refused_with_the_list(text):
    with pytest.raises(ConfigError, match="is no fault; expected KIND@STEP") as caught:
        faults_of(text, num_steps=9)
    assert all(kind in str(caught.value) for kind in KINDS)


@pytest.mark.parametrize("kind", ["kill_in_save", "full_disk"])
def test_only_the_chief_can_have_what_is_about_its_files(kind):
    with pytest.raises(ConfigError, match="can't happen to worker 1"):
        faults_of(f"{kind}@3:1", num_steps=9)


def test_faults_are_in_the_order_of_their_steps():
    found = faults_of("slow@9:1,sigkill@3", num_steps=10)
    assert found == [Fault("sigkill", 3, 0), Fault("slow", 9, 1)]


def test_random_steps_are_those_of_the_seed():
    many = ",".join(["sigkill@random"] * 20)
    drawn = [[fault.step for fault in faults_of(many, num_steps=50, seed=s)] for s in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(1 <= step < 50 for step in drawn[0])


def test_a_fault_happens_once_and_says_when(tmp_path):
    faults = [Fault("exception", 4, 1)]
    injector = Injector(faults, tmp_path / "faults")
    injector.reached(3)
    with pytest.raises(RuntimeError, match="an injected exception at step 5"):
        injector.reached(5)
    injector.reached(6)
    Injector(faults, tmp_path / "faults").reached(5)  # the next start
    note = json.loads((tmp_path / "faults" / "exception-4-1.json").read_text())
    assert (note["kind"], note["step"], note["worker"]) == ("exception", 4, 1)
    assert note["after_step"] == 5


def test_a_bug_comes_each_time(tmp_path):
    for _ in range(2):
        with pytest.raises(RuntimeError, match="bug"):
            Injector([Fault("bug", 4, 0)], tmp_path / "faults").reached(4)
    assert not (tmp_path / "faults").exists()


def test_faults_of_one_step_come_one_at_a_point(tmp_path):
    injector = Injector([Fault("slow", 2, 0), Fault("exception", 2, 0)], tmp_path)
    injector.reached(2)
    with pytest.raises(RuntimeError):
        injector.reached(3)


def test_a_slow_worker_takes_three_times_as_long(tmp_path, monkeypatch):
    slept, now = [], [0.0]
    monkeypatch.setattr(fault_kinds.time, "sleep", slept.append)
    injector = Injector([Fault("slow", 2, 0)], tmp_path, clock=lambda: now[0])
    for step in range(1, 100):
        now[0] += 0.5
        injector.reached(step)
        now[0] += 10.0 * (step > 2)  # a step that waits for another worker doesn't count
    assert set(slept) == {1.0}
    assert len(slept) == 59  # steps 3 to 61


def test_an_exception_in_a_handler_comes_in_the_main_thread(tmp_path):
    before = signal.getsignal(signal.SIGALRM)
    try:
        with pytest.raises(RuntimeError, match="exception_in_handler"):
            Injector([Fault("exception_in_handler", 1, 0)], tmp_path).reached(1)
            threading.Event().wait(60)
    finally:
        signal.signal(signal.SIGALRM, before)


# What ends the process in which it happens, and by which signal.
DEADLY = {
    "abort": signal.SIGABRT,
    "segfault": signal.SIGSEGV,
    "sigint": signal.SIGINT,
    "sigkill": signal.SIGKILL,
    "sigterm": signal.SIGTERM,
}
PROGRAM = """
import signal, sys, threading
from pathlib import Path
from tfscale.checkpoints.background import Background
from tests.faults.injected import Fault, Injector
signal.signal(signal.SIGINT, signal.SIG_DFL)
Injector([Fault(sys.argv[1], 1, 0)], Path(sys.argv[2])).reached(1)
while sys.argv[1] == "kill_in_save":
    Background().start(lambda: [len("") for _ in range(10)])
threading.Event().wait(60)
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """The exit codes of processes in which something happens that ends them, and their notes."""
    found = {}
    for kind in (*DEADLY, "kill_in_save"):
        folder = tmp_path_factory.mktemp(kind)
        command = [sys.executable, "-c", PROGRAM, kind, str(folder)]
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        found[kind] = subprocess.Popen(command, cwd=ROOT, **streams), folder
    codes = {}
    for kind, (process, folder) in found.items():
        try:
            codes[kind] = process.wait(timeout=120), [path.name for path in folder.iterdir()]
        finally:
            process.kill()
            process.wait()
    return codes


@pytest.mark.parametrize("kind", DEADLY)
def test_what_is_deadly_ends_the_process_and_is_noted(ended, kind):
    assert ended[kind] == (-DEADLY[kind], [f"{kind}-1-0.json"])


def test_a_kill_inside_a_save_comes_in_the_thread_that_writes(ended):
    assert ended["kill_in_save"] == (-signal.SIGKILL, ["kill_in_save-1-0.json"])


def test_every_kind_can_be_ordered():
    for kind in KINDS:
        assert faults_of(f"{kind}@3", num_steps=9) == [Fault(kind, 3, 0)]
