"""Faults that a run is told to have, so that tests can see what becomes of it: a listener.

`KIND@STEP[:WORKER],...` lets each of them happen once in a run, however often it is started again:
what has happened is noted in `RUN_DIR/faults/`. `worker.py` here is launch/worker.py with it.
"""

import collections
import json
import os
import random
import re
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import tfscale
from tests.faults.fault_kinds import KINDS, Scene, let_happen
from tfscale.files import atomic

FOLDER = "faults"
RANDOM = "random"
_ORDER = re.compile(r"(\w+)@(\d+|random)(?::(\d+))?")
_LONGEST_STEP_SECONDS = 1.0  # the first one takes longer
_USUAL_STEPS = 9  # of whose seconds the middle one is usual


@dataclass(frozen=True)
class Fault:
    """One that is asked for: of a kind, after so many training steps at least, and to whom."""

    kind: str
    step: int
    worker: int

    @property
    def name(self):
        """Of its note."""
        return f"{self.kind}-{self.step}-{self.worker}.json"


def faults_of(text, *, num_steps, seed=0):
    """The faults that a run is told to have, in the order of their steps.

    Args:
        text: as in the environment.
        num_steps: of the training, among which random ones are drawn.
        seed: of the run.
    """
    found = []
    for number, word in enumerate(filter(None, text.split(","))):
        order = _ORDER.fullmatch(word)
        if order is None or order[1] not in KINDS:
            raise tfscale.ConfigError(
                f"{word} is no fault; expected KIND@STEP or KIND@STEP:WORKER, STEP a number or "
                f"{RANDOM}, KIND one of {', '.join(KINDS)}."
            )
        kind, step, worker = order[1], order[2], int(order[3] or 0)
        if worker and KINDS[kind].is_of_chief:
            raise tfscale.ConfigError(
                f"{word} can't happen to worker {worker}; expected worker 0, which alone writes "
                "checkpoints."
            )
        if step == RANDOM:
            step = random.Random(f"{seed}/{number}/{kind}").randint(1, max(num_steps - 1, 1))
        found.append(Fault(kind, int(step), worker))
    return sorted(found, key=lambda fault: fault.step)


class Faults(tfscale.Listener):
    """Lets a worker's faults happen at points of its training."""

    def __init__(self, text):
        self._text, self._injector = text, None

    def begin(self, job, prepared):
        steps = (prepared.data.training.steps or 1) * job.config.epochs
        faults = faults_of(self._text, num_steps=steps, seed=job.config.seed)
        own = [fault for fault in faults if fault.worker == job.cluster.index]
        weight = prepared.model.trainable_weights[0].value
        replicas = job.strategy.experimental_local_results(weight)
        self._injector = Injector(own, Path(job.config.run_dir) / FOLDER, replicas)

    def at_point(self, point):
        self._injector.reached(point.step)


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
        faults,
        folder,
        weight=(),
        clock=time.monotonic,
    ):
        """Leaves out what has happened before this start."""
        self._left = [fault for fault in faults if not (folder / fault.name).exists()]
        self._folder, self._weight, self._clock = folder, weight, clock
        self._last = clock()
        self._seconds = collections.deque(maxlen=_USUAL_STEPS)
        self._slow_until = 0

    def reached(self, step):
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

    def _usual_seconds(self):
        return min(statistics.median(self._seconds), _LONGEST_STEP_SECONDS)

    def _begin(self, fault, step):
        kind = KINDS[fault.kind]

        def happens():
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

    def _note(self, fault, step):
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
