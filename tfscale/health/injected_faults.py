"""Faults that a run is told to have, so that tests can see what becomes of it.

`--inject_fault=KIND@STEP[:WORKER],...` lets each of them happen once in a run, however often it is
started again: what has happened is noted in `RUN_DIR/faults/`. It works only where the environment
says that this is a test.
"""

import collections
import json
import os
import random
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.files import atomic
from tfscale.fit.points import Point
from tfscale.fit.prepared import Prepared
from tfscale.health.fault_kinds import KINDS, Scene, let_happen
from tfscale.settings import Config
from tfscale.startup.environment import TEST_FAULTS, may_inject_faults
from tfscale.startup.job import Job

FOLDER = "faults"
RANDOM = "random"
_ORDER = re.compile(r"(\w+)@(\d+|random)(?::(\d+))?")
_LONGEST_STEP_SECONDS = 1.0  # the first one takes longer
_USUAL_STEPS = 9  # of whose seconds the middle one is usual


@dataclass(frozen=True)
class Fault:
    """One that is asked for.

    Args:
        kind: one of `KINDS`.
        step: training steps after which it happens, at least.
        worker: to which.
    """

    kind: str
    step: int
    worker: int

    @property
    def name(self) -> str:
        """Of its note."""
        return f"{self.kind}-{self.step}-{self.worker}.json"


def require_allowed(config: Config, *, is_allowed: bool | None = None) -> None:
    """Refuses faults outside of tests, and what is none.

    Args:
        config: of the run.
        is_allowed: whether this is a test; the environment says it if None.

    Raises:
        ConfigError: one of both.
    """
    if not config.inject_fault:
        return
    if not (may_inject_faults() if is_allowed is None else is_allowed):
        raise ConfigError(
            f"--inject_fault={config.inject_fault} damages a run, and this is no test; expected no "
            f"such flag. Leave it away ({TEST_FAULTS}=1 in the environment says that it is one)."
        )
    faults_of(config, num_steps=1)


def faults_of(config: Config, *, num_steps: int) -> list[Fault]:
    """The faults that a run is told to have, in the order of their steps.

    Args:
        config: of the run.
        num_steps: of the training, among which random ones are drawn.

    Raises:
        ConfigError: there is no such fault.
    """
    found = []
    for number, word in enumerate(filter(None, config.inject_fault.split(","))):
        order = _ORDER.fullmatch(word)
        if order is None or order[1] not in KINDS:
            raise ConfigError(
                f"--inject_fault={word} is no fault; expected KIND@STEP or KIND@STEP:WORKER, STEP "
                f"a number or {RANDOM}, KIND one of {', '.join(KINDS)}. Use for example "
                "--inject_fault=sigkill@20:1."
            )
        kind, step, worker = order[1], order[2], int(order[3] or 0)
        if worker and KINDS[kind].is_of_chief:
            raise ConfigError(
                f"--inject_fault={word} can't happen to worker {worker}; expected worker 0, which "
                f"alone writes checkpoints. Use --inject_fault={kind}@{step}."
            )
        if step == RANDOM:
            drawn = random.Random(f"{config.seed}/{number}/{kind}")  # noqa: S311 - reproducible
            step = drawn.randint(1, max(num_steps - 1, 1))
        found.append(Fault(kind, int(step), worker))
    return sorted(found, key=lambda fault: fault.step)


def listeners(job: Job, prepared: Prepared, run_dir: Path) -> list[Callable[[Point], None]]:
    """What lets this worker's faults happen, as a listener of a training's points; mostly nothing.

    Args:
        job: whose worker this is.
        prepared: what trains.
        run_dir: where is noted what has happened.
    """
    steps = (prepared.data.training.steps or 1) * job.config.epochs
    faults = faults_of(job.config, num_steps=steps)
    own = [fault for fault in faults if fault.worker == job.cluster.index]
    if not own:
        return []
    weight = job.strategy.experimental_local_results(prepared.model.trainable_weights[0].value)
    injector = Injector(own, run_dir / FOLDER, weight)
    return [lambda point: injector.reached(prepared.distributed.step)]


class Injector:
    """Lets a worker's faults happen, one at a point.

    Args:
        faults: of this worker, in the order of their steps.
        folder: for notes.
        weight: as of `Scene`.
        clock: in seconds.
    """

    def __init__(
        self,
        faults: Sequence[Fault],
        folder: Path,
        weight: Sequence[tf.Variable] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Leaves out what has happened before this start."""
        self._left = [fault for fault in faults if not (folder / fault.name).exists()]
        self._folder, self._weight, self._clock = folder, weight, clock
        self._last = clock()
        self._seconds = collections.deque[float](maxlen=_USUAL_STEPS)
        self._slow_until = 0

    def reached(self, step: int) -> None:
        """Lets happen what is due.

        Args:
            step: training steps so far.
        """
        if step < self._slow_until:
            # Not of the last step, which has waited for another worker that may be slow as well.
            time.sleep(2.0 * self._usual_seconds())
        else:
            self._seconds.append(self._clock() - self._last)
        if self._left and self._left[0].step <= step:
            self._begin(self._left.pop(0), step)
        self._last = self._clock()

    def _usual_seconds(self) -> float:
        return min(statistics.median(self._seconds), _LONGEST_STEP_SECONDS)

    def _begin(self, fault: Fault, step: int) -> None:
        kind = KINDS[fault.kind]

        def happens() -> None:
            if not kind.is_repeated:
                self._note(fault, step)

        if kind.slow_steps:
            self._slow_until = step + kind.slow_steps
        scene = Scene(
            f"an injected {fault.kind} at step {step}",
            self._folder,
            self._usual_seconds(),
            happens,
            self._weight,
        )
        let_happen(kind, scene)

    def _note(self, fault: Fault, step: int) -> None:
        note = {
            "kind": fault.kind,
            "step": fault.step,
            "worker": fault.worker,
            "after_step": step,
            "at": time.monotonic(),  # of all processes of this machine
            "process": os.getpid(),
        }
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic.write_text(self._folder / fault.name, json.dumps(note) + "\n")
