"""One process of one system: `python -m tools.bench.reading.worker TASK`, with the task as JSON.

Each order is an `Order` as JSON.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from tfscale.structures import Foreign, Structure
from tfscale.supervise.answers import answering, listening
from tools.bench.reading import formats
from tools.bench.reading.formats import FORMATS, ReadingTask

_LEAST_BATCHES = 4  # before time is taken: more than lie ready
_LEAST_SECONDS = 0.3  # in which the system that was measured before fills its buffers


@dataclass(frozen=True)
class Order:
    """What to measure.

    Args:
        data_set: which.
        seconds: how long a block lasts at least; not asked of an accelerator.
        steps: of an accelerator that is emulated; 0 takes batches as fast as they come.
        step_seconds: how long each of its steps takes.
        is_cold: whether the system first forgets the files, so that a disk gives them.
        position: of numbers, how many records were taken before; measures the first batch only.
    """

    data_set: str
    seconds: float = 1.0
    steps: int = 0
    step_seconds: float = 0.0
    is_cold: bool = False
    position: int = 0


def main(text: str) -> None:
    """Answers each order."""
    answer, orders = answering(), listening()
    reader = _Reader(ReadingTask(**json.loads(text)))
    for order in orders:
        answer(**reader.answer(Order(**json.loads(order))))


class _Reader:
    """The batches of the data set that was asked for last, which go on where they were."""

    def __init__(self, task: ReadingTask) -> None:
        self._task, self._open = task, ""
        self._system: Foreign = importlib.import_module(f"tools.bench.reading.{task.system}")
        self._next: Callable[[], Structure] = lambda: None

    def answer(self, order: Order) -> dict[str, Any]:
        if order.position:
            path, batch = f"{self._task.folder}/{order.data_set}", FORMATS["small"].batch
            return {"seconds": self._system.seconds_to_position(path, order.position, batch)}
        if self._open != order.data_set:
            # The old one ends first; its memory is needed.
            self._next = lambda: None
            self._next = self._system.prepare(self._task, order.data_set)
            self._open = order.data_set
        if order.is_cold:
            forget(formats.record_files(self._task.folder, order.data_set))
        if order.steps:
            return utilisation(self._next, order.steps, order.step_seconds)
        return self._rate(order)

    def _rate(self, order: Order) -> dict[str, Any]:
        _taken(self._next, _LEAST_SECONDS, _LEAST_BATCHES)
        before = _processor_seconds()
        started = time.perf_counter()
        batches = _taken(self._next, order.seconds, 1)
        seconds = time.perf_counter() - started
        examples = batches * FORMATS[order.data_set].batch
        return {
            "examples_per_second": examples / seconds,
            "processor_seconds": (_processor_seconds() - before) / examples,
        }


def utilisation(take: Callable[[], Structure], steps: int, step_seconds: float) -> dict[str, float]:
    """How much of the time an accelerator works which takes a batch and needs so long for it.

    MLPerf Storage's measure: the accelerator's time over the whole time.

    Args:
        take: gives the next batch.
        steps: batches; one more comes before, for which nothing is counted.
        step_seconds: of the accelerator with each.
    """
    take()
    time.sleep(step_seconds)
    started = time.perf_counter()
    for _ in range(steps):
        take()
        time.sleep(step_seconds)
    return {"utilisation": steps * step_seconds / (time.perf_counter() - started)}


def forget(paths: Sequence[str]) -> None:
    """Lets the system drop what it holds of files in memory."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # what isn't written yet stays
            if hasattr(os, "posix_fadvise"):  # macOS has none
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _taken(take: Callable[[], Structure], seconds: float, least: int) -> int:
    """Takes batches for so long, and so many at least; says how many."""
    end, batches = time.perf_counter() + seconds, 0
    while batches < least or time.perf_counter() < end:
        take()
        batches += 1
    return batches


def _processor_seconds() -> float:
    """Of this process and of those that it started."""
    own = psutil.Process()
    times = [process.cpu_times() for process in [own, *own.children(recursive=True)]]
    return sum(float(each.user + each.system) for each in times)


if __name__ == "__main__":
    main(sys.argv[1])
