"""Whole programs against each other: from the start of their processes to their end."""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfscale.cluster.ports import free_addresses
from tfscale.supervise.answers import Workers
from tools.bench.blocks import in_turns, ratios, with_range, write_both
from tools.bench.module_commands import module_command, on_own_cores
from tools.bench.programs.task import BATCH, WholeTask

_WORKERS = 2
_DEADLINE_SECONDS = 300.0

# Name: (program, whether its workers train together).
KINDS = {
    "tfscale": ("ours", True),
    "tfscale, each alone": ("ours", False),
    "stock": ("stock", True),
}


@dataclass(frozen=True)
class Whole:
    """One program run once, on two workers.

    Args:
        process_seconds: from the start of the first process to the end of the last.
        first_step_seconds: from the start to the end of the first step.
        images_per_second: of all workers, over the whole of `fit` with its evaluations.
    """

    process_seconds: float
    first_step_seconds: float
    images_per_second: float


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


def measure(
    *, blocks: int, epochs: int, steps: int, say: Callable[[str], None]
) -> dict[str, list[Whole]]:
    """Runs every kind once a block, in turns that change their order.

    Args:
        blocks: how often.
        epochs: of each run.
        steps: of an epoch.
        say: gets a line a block.

    Raises:
        WorkerError: a program failed or took too long.
    """
    measured: dict[str, list[Whole]] = {name: [] for name in KINDS}
    for block, names in enumerate(in_turns(blocks, list(KINDS)), 1):
        for name in names:
            measured[name].append(_measured(name, epochs, steps))
        say(f"whole programs, block {block} of {blocks}")
    return measured


def _measured(name: str, epochs: int, steps: int) -> Whole:
    program, is_coupled = KINDS[name]
    hosts = tuple(free_addresses(_WORKERS)) if is_coupled else ()
    with tempfile.TemporaryDirectory() as folder:
        tasks = [
            WholeTask(hosts, index, epochs, steps, folder)
            if is_coupled
            else WholeTask((), 0, epochs, steps, f"{folder}/{index}")
            for index in range(_WORKERS)
        ]
        own = [] if is_coupled else [on_own_cores(_WORKERS, number) for number in range(_WORKERS)]
        ran = run(program, tasks, own)
    images = _WORKERS * BATCH * steps * epochs
    return Whole(
        process_seconds=ran.end - ran.start,
        first_step_seconds=max(answer["first_step"] for answer in ran.answers) - ran.start,
        images_per_second=images / max(answer["fit_seconds"] for answer in ran.answers),
    )


def run(program: str, tasks: Sequence[WholeTask], prefixes: Sequence[Sequence[str]] = ()) -> Run:
    """Runs a program once, one process a task, all at the same time.

    Args:
        program: a module of `programs/`.
        tasks: what each worker does.
        prefixes: a command for each worker that runs it; none if empty.

    Raises:
        WorkerError: a worker failed or took too long; all are ended.
    """
    prefixes = prefixes or [()] * len(tasks)
    start = time.time()
    commands = [
        (f"{program}, worker {number}", [*prefix, *module_command(f"programs.{program}", task)])
        for number, (task, prefix) in enumerate(zip(tasks, prefixes, strict=True))
    ]
    with Workers(commands) as workers:
        answers = workers.answers(_DEADLINE_SECONDS)
        workers.finish(start + _DEADLINE_SECONDS - time.time())
        return Run(start, time.time(), answers)


def markdown(measured: Mapping[str, Sequence[Whole]]) -> str:
    """The figures and what they say about each other."""
    lines = [
        "| program, 2 workers | process, s | to the end of the first step, s | images/s in fit |",
        "| --- | --- | --- | --- |",
    ]
    for name, found in measured.items():
        columns = (
            [run.process_seconds for run in found],
            [run.first_step_seconds for run in found],
            [run.images_per_second for run in found],
        )
        lines.append(f"| {name} | {' | '.join(map(with_range, columns))} |")
    ours, alone, stock = (measured[name] for name in KINDS)
    coupled = _ratio(ours, alone, lambda run: run.images_per_second)
    process = _ratio(ours, stock, lambda run: run.process_seconds)
    first = _ratio(ours, stock, lambda run: run.first_step_seconds)
    sentences = [
        f"Together, the workers are {coupled} times as fast as each alone at the same time.",
        f"Against stock the process takes {process} of the time, the first step {first}.",
        "Ratios are those of medians; brackets hold the range of the runs.",
    ]
    return "\n".join(["### Whole programs, small-resnet", "", *lines, "", *sentences]) + "\n"


def write(measured: Mapping[str, Sequence[Whole]], folder: Path) -> None:
    """Writes `whole.json` and `whole.md`."""
    content = {name: [vars(run) for run in found] for name, found in measured.items()}
    write_both(folder, "whole", content, markdown(measured))


def _ratio(first: Sequence[Whole], second: Sequence[Whole], of: Callable[[Whole], float]) -> str:
    ours, theirs = [of(run) for run in first], [of(run) for run in second]
    pairs = ratios(ours, theirs)
    middle = statistics.median(ours) / statistics.median(theirs)
    return f"{middle:.3f} ({min(pairs):.3f} to {max(pairs):.3f})"
