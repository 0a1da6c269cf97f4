"""The processes that train together: started once, asked for a block of steps at a time."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from tfscale.bench.links import Link
from tfscale.bench.task import Task, Variant
from tfscale.cluster import free_addresses

_ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 300.0
_REAP_SECONDS = 5.0
_LOG_LINES = 15
_LOG_BYTES = 65_536

_Answers = queue.Queue[tuple[int, bytes]]  # number of the worker and its line; empty at its end


class BenchmarkError(RuntimeError):
    """A worker of a benchmark ended or didn't answer; the end of its log is in the message."""


@dataclass(frozen=True)
class Cell:
    """What is measured: a field of the table.

    Args:
        variant: system with options.
        workers: how many.
        coupled: False for as many workers that train the same, each alone, at the same time.
        link_mbps: bandwidth of the link; 0 for the loopback.
        gpus: of a worker alone, which then counts as so many workers; 0 takes what there is.
    """

    variant: Variant
    workers: int
    coupled: bool = True
    link_mbps: float = 0.0
    gpus: int = 0

    @property
    def replicas(self) -> int:
        """How many train together."""
        return self.gpus or self.workers


class Group:
    """The workers of one cell.

    Args:
        cell: which.
        task: what they train; its variant and its place in the cluster are the cell's.
        link: where they run.
    """

    def __init__(self, cell: Cell, task: Task, link: Link) -> None:
        """Starts the processes; `wait` waits until they are ready."""
        self.cell = cell
        hosts: tuple[str, ...] = ()
        if cell.coupled and cell.workers > 1:
            is_shaped = bool(link.namespaces)
            hosts = link.hosts(cell.workers) if is_shaped else tuple(free_addresses(cell.workers))
        self._answers: _Answers = queue.Queue()
        self._workers: list[_Worker] = []
        try:
            for index in range(cell.workers):
                own = replace(task, variant=cell.variant, hosts=hosts, index=index if hosts else 0)
                prefix = link.command(index) if link.namespaces else _visible(cell.gpus)
                self._workers.append(_Worker(own, index, prefix, self._answers))
        except BaseException:
            self._end()  # nobody enters a group that was not made
            raise

    def wait(self) -> None:
        """Returns when every worker has taken its first steps.

        Raises:
            BenchmarkError: one ended, or took too long.
        """
        self._all_answers(_START_SECONDS)

    def run(self, steps: int, timeout_seconds: float = _START_SECONDS) -> list[dict[str, Any]]:
        """Trains on all workers; gives each one's `seconds` and `peak_bytes`.

        Raises:
            BenchmarkError: one ended, or took too long.
        """
        for worker in self._workers:
            worker.order(steps)
        return self._all_answers(timeout_seconds)

    def step_times(self) -> list[dict[str, Any]]:
        """Trains one step and gives when its parts were done, of each worker.

        Raises:
            BenchmarkError: one ended, or took too long.
        """
        self.run(1)
        return self.run(0)

    def _all_answers(self, timeout_seconds: float) -> list[dict[str, Any]]:
        """One answer of each worker; whoever ends first is named, others may only wait for it."""
        deadline = time.monotonic() + timeout_seconds
        answers: dict[int, dict[str, Any]] = {}
        while len(answers) < len(self._workers):
            try:
                number, line = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                silent = next(n for n in range(len(self._workers)) if n not in answers)
                raise self._workers[silent].failed("did not answer in time") from None
            if not line:
                raise self._workers[number].failed("ended")
            answers[number] = json.loads(line)
        return [answers[number] for number in range(len(self._workers))]

    def __enter__(self) -> "Group":
        """Gives itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends all processes; TensorFlow's workers don't end by a gentler signal."""
        self._end()

    def _end(self) -> None:
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            worker.reap()


class _Worker:
    def __init__(self, task: Task, number: int, prefix: list[str], answers: _Answers) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._name = f"{task.variant}, worker {number}"
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this project's own module
                [*prefix, sys.executable, "-m", "tfscale.bench.worker", task.to_json()],
                cwd=_ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                bufsize=0,  # an order must not be left over in a buffer
                start_new_session=True,
            )
        except BaseException:
            self._log.close()
            raise
        self._listener = threading.Thread(target=self._listen, args=(number, answers), daemon=True)
        self._listener.start()

    def _listen(self, number: int, answers: _Answers) -> None:
        for line in self._process.stdout or ():
            answers.put((number, line))
        answers.put((number, b""))

    def order(self, steps: int) -> None:
        # Whether the process has ended is not asked: that would reap it, and its number could be
        # another's when its group is killed.
        if self._process.stdin is None:
            raise self.failed("takes no orders")
        try:
            self._process.stdin.write(b"%d\n" % steps)
        except OSError:
            raise self.failed("ended") from None

    def failed(self, what: str) -> BenchmarkError:
        # Without moving the place in the file, which the process shares.
        size = os.fstat(self._log.fileno()).st_size
        text = os.pread(self._log.fileno(), _LOG_BYTES, max(0, size - _LOG_BYTES))
        tail = "\n".join(text.decode(errors="replace").splitlines()[-_LOG_LINES:])
        return BenchmarkError(f"{self._name} {what}. The end of its log:\n{tail}")

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # what it started too

    def reap(self) -> None:
        with self._process:  # waits, and closes its pipes
            self._listener.join(_REAP_SECONDS)
        self._log.close()


def _visible(gpus: int) -> list[str]:
    """What lets a worker see only the first GPUs."""
    names = ",".join(str(number) for number in range(gpus))
    return ["env", f"CUDA_VISIBLE_DEVICES={names}"] if gpus else []
