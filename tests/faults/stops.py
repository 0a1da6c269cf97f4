"""Runs that are stopped at any moment, as people and schedulers stop them: whether all is saved.

Epochs have 1, 2, 3 or 14 loops on the device, or as many as the machine's speed asks for: where an
epoch is one loop, every point at which workers can meet is alike, and a stop that gets lost at
another one isn't seen.
"""

import contextlib
import json
import random
import re
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.jobs.workers import ROOT, _environment, _text_file
from tfscale.checkpoints import commit
from tfscale.files.checkpoint_names import FOLDER
from tfscale.supervise.gang import Gang, Streams

LIMIT_SECONDS = 30.0  # from the signal to the end of all
RUN_SECONDS = 240.0  # of a whole run on a busy machine
STEPS = 14  # of an epoch
LOOPS = {1: STEPS, 2: 7, 3: 5, 14: 1, 0: 0}  # loops of an epoch: --steps_per_execution
_FIRST_STEP = "the first step took"
_SAVED = re.compile(r"step (\d+) is saved in")


@dataclass(frozen=True)
class Settings:
    """What a run is like."""

    workers: int
    loops: int  # of an epoch; 0 for as many as the speed asks for
    epochs: int
    has_validation: bool = True
    accumulate_steps: int = 1

    def command(self, run_dir):
        """That starts it."""
        return [
            *(sys.executable, str(ROOT / "launch" / "local.py"), f"--workers={self.workers}", "--"),
            "--dataset=tests/faults/steady_dataset.py",
            f"--dataset_option=has_validation={str(self.has_validation).lower()}",
            "--model=models/small_cnn.py",
            *(f"--batch_size={336 // STEPS}", f"--epochs={self.epochs}", "--seed=3"),
            f"--steps_per_execution={LOOPS[self.loops]}",
            f"--accumulate_steps={self.accumulate_steps}",
            f"--run_dir={run_dir}",
        ]


@dataclass(frozen=True)
class Stop:
    """Who is stopped when: `moment` is a share of the time that the run trains without a stop."""

    settings: Settings
    number: signal.Signals
    who: int  # a worker's rank, -1 for the launcher
    moment: float


def drawn(count, seed):
    """Stops of all kinds, of ten kinds of runs; the same seed draws the same ones."""
    draw = random.Random(seed)
    kinds = [
        Settings(
            workers,
            loops,
            epochs=draw.choice((3, 4)),
            has_validation=draw.random() < 0.6,
            accumulate_steps=accumulate_steps,
        )
        for number, loops in enumerate(LOOPS)
        for workers, accumulate_steps in ((2, 1), ((3, 1)[number % 2], 2))
    ]
    found = []
    for place in range(count):
        settings = kinds[place % len(kinds)]
        number = draw.choice((signal.SIGTERM, signal.SIGINT))
        who = draw.randrange(-1, settings.workers)
        found.append(Stop(settings, number, who, 0.7 * draw.random()))
    return found


@dataclass(frozen=True)
class Ended:
    """How a run has ended: its launcher's exit code, what was said, and who was signalled when."""

    code: int | None
    text: str
    training_seconds: float  # from the line of the first step to the end
    stopping_seconds: float  # from the signal to the end


def play(settings, run_dir, stop=None, after_seconds=0.0):
    """Runs to the end, or until a signal comes so long after the line of the first step."""
    with _text_file() as out, Gang() as gang:
        member = gang.start(
            settings.command(run_dir),
            environ=_environment() | {"PYTHONUNBUFFERED": "1"},
            folder=ROOT,
            streams=Streams(stdout=out, stderr=out),
        )
        deadline = time.monotonic() + RUN_SECONDS
        while _FIRST_STEP not in _read(out) and time.monotonic() < deadline:
            if member.poll() is not None:
                break
            time.sleep(0.01)
        began = time.monotonic()
        signalled = began
        if stop is not None:
            time.sleep(after_seconds)
            signalled = time.monotonic()
            _send(member.pid, stop)
            deadline = signalled + LIMIT_SECONDS
        code = member.wait(deadline)
        now = time.monotonic()
        member.kill()
        return Ended(code, _read(out), now - began, now - signalled)


def _read(file):
    # Not by its own position, at which the launcher writes.
    return Path(f"/proc/self/fd/{file.fileno()}").read_text(errors="replace")


def _send(launcher, stop):
    """Signals the launcher or a worker, unless the run is over."""
    with contextlib.suppress(psutil.NoSuchProcess):  # or a zombie
        process = psutil.Process(launcher)
        for one in process.children() if stop.who >= 0 else [process]:
            words = " ".join(one.cmdline())
            is_it = f"--index={stop.who}" in words or stop.settings.workers == 1
            if stop.who < 0 or ("worker.py" in words and is_it):
                one.send_signal(stop.number)
                return


def problem_of(stop, ended, run_dir):
    """What isn't as it should be when a run was stopped; "" if all is."""
    if ended.code != 143:
        return f"exit code {ended.code}: {ended.text[-2000:]}"
    steps = set(_SAVED.findall(ended.text))
    found, refused = commit.newest(run_dir / FOLDER)
    if len(steps) != 1 or found is None or refused:
        return f"steps {steps} are told, checkpoint {found}, {refused}: {ended.text[-2000:]}"
    (step,) = steps
    return "" if int(step) == found.step else f"step {step} is told, {found.step} is there"


def weights_of(run_dir):
    """The SHA-256 of the weights that a run has ended with, and its steps."""
    report = json.loads((run_dir / "report.json").read_text())
    return report["weights_sha256"], report["steps"]
