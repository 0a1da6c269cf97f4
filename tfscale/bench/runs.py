"""Runs a whole program of `programs/` on several workers of this machine."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tfscale.bench.processes import Processes
from tfscale.bench.programs.task import WholeTask

_DEADLINE_SECONDS = 300.0


@dataclass(frozen=True)
class Run:
    """One program, run once.

    Args:
        start: of the first process, in seconds since 1970.
        end: of the last.
        answers: what each worker told; see `programs`.
    """

    start: float
    end: float
    answers: list[dict[str, float]]


def run(program: str, tasks: Sequence[WholeTask], prefixes: Sequence[Sequence[str]] = ()) -> Run:
    """Runs a program once, one process a task, all at the same time.

    Args:
        program: a module of `programs/`.
        tasks: what each worker does.
        prefixes: a command for each worker that runs it; none if empty.

    Raises:
        BenchmarkError: a worker failed or took too long; all are ended.
    """
    start = time.time()
    with Processes() as processes:
        for number, task in enumerate(tasks):
            processes.start(
                f"{program}, worker {number}",
                ["-m", f"tfscale.bench.programs.{program}", task.to_json()],
                prefix=prefixes[number] if prefixes else (),
            )
        answers = processes.answers(_DEADLINE_SECONDS)
        processes.finish(start + _DEADLINE_SECONDS - time.time())
        return Run(start, time.time(), answers)
