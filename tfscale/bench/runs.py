"""Runs a whole program of `programs/` on several workers of this machine."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tfscale.bench.commands import ROOT, module_command
from tfscale.bench.programs.task import WholeTask
from tfscale.supervise.answers import Workers

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
        WorkerError: a worker failed or took too long; all are ended.
    """
    with Workers(ROOT) as workers:
        start = time.time()
        for number, task in enumerate(tasks):
            prefix = prefixes[number] if prefixes else ()
            command = module_command(f"tfscale.bench.programs.{program}", task.to_json())
            workers.start(f"{program}, worker {number}", [*prefix, *command])
        answers = workers.answers(_DEADLINE_SECONDS)
        workers.finish(start + _DEADLINE_SECONDS - time.time())
        return Run(start, time.time(), answers)
