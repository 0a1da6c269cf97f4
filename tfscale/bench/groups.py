"""The processes that train together: started once, asked for a block of steps at a time."""

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
_LOG_LINES = 15


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
        self._workers = [
            _Worker(
                replace(task, variant=cell.variant, hosts=hosts, index=index if hosts else 0),
                link.command(index) if link.namespaces else _visible(cell.gpus),
            )
            for index in range(cell.workers)
        ]

    def wait(self) -> None:
        """Returns when every worker has taken its first steps.

        Raises:
            BenchmarkError: one ended, or took too long.
        """
        deadline = time.monotonic() + _START_SECONDS
        for worker in self._workers:
            worker.answer(deadline)

    def run(self, steps: int, timeout_seconds: float = _START_SECONDS) -> list[dict[str, Any]]:
        """Trains on all workers; gives each one's `seconds` and `peak_bytes`.

        Raises:
            BenchmarkError: one ended, or took too long.
        """
        for worker in self._workers:
            worker.order(steps)
        deadline = time.monotonic() + timeout_seconds
        return [worker.answer(deadline) for worker in self._workers]

    def step_times(self) -> list[dict[str, Any]]:
        """Trains one step and gives when its parts were done, of each worker.

        Raises:
            BenchmarkError: one ended, or took too long.
        """
        self.run(1)
        return self.run(0)

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
        for worker in self._workers:
            worker.end()


class _Worker:
    def __init__(self, task: Task, prefix: list[str]) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        self._name = f"{task.variant}, worker {task.index}"
        self._process = subprocess.Popen(  # noqa: S603 - this project's own module
            [*prefix, sys.executable, "-m", "tfscale.bench.worker", task.to_json()],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            bufsize=1,
            start_new_session=True,
        )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            self._answers.put(line)
        self._answers.put("")

    def order(self, steps: int) -> None:
        if self._process.stdin is None or self._process.poll() is not None:
            raise self._failed("ended")
        self._process.stdin.write(f"{steps}\n")

    def answer(self, deadline: float) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise self._failed("did not answer in time") from None
        if not line:
            raise self._failed("ended")
        values: dict[str, Any] = json.loads(line)
        return values

    def _failed(self, what: str) -> BenchmarkError:
        self._log.seek(0)
        tail = "".join(self._log.readlines()[-_LOG_LINES:])
        return BenchmarkError(f"{self._name} {what}. The end of its log:\n{tail}")

    def end(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()


def _visible(gpus: int) -> list[str]:
    """What lets a worker see only the first GPUs."""
    names = ",".join(str(number) for number in range(gpus))
    return ["env", f"CUDA_VISIBLE_DEVICES={names}"] if gpus else []
