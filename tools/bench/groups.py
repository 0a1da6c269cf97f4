"""The workers that train together: started once, asked for a block of steps at a time."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tfscale.cluster.ports import free_addresses
from tfscale.supervise.answers import Workers
from tools.bench.links import ShapedLink
from tools.bench.module_commands import module_command, on_own_cores
from tools.bench.task import Task, Variant

_START_SECONDS = 300.0


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


class Group(contextlib.AbstractContextManager["Group"]):
    """The workers of one cell.

    Args:
        cell: which.
        task: what they train; its variant and its place in the cluster are the cell's.
        link: where they run.
    """

    def __init__(self, cell: Cell, task: Task, link: ShapedLink) -> None:
        """Starts the processes; `wait` waits until they are ready."""
        self.cell = cell
        self._workers = Workers(_commands(cell, task, link))

    def wait(self) -> None:
        """Returns when every worker has taken its first steps.

        Raises:
            WorkerError: one ended, or took too long.
        """
        self._workers.answers(_START_SECONDS)

    def run(self, steps: int, timeout_seconds: float = _START_SECONDS) -> list[dict[str, Any]]:
        """Trains on all workers; gives each one's `seconds` and `peak_bytes`.

        Raises:
            WorkerError: one ended, or took too long.
        """
        self._workers.order(str(steps))
        return self._workers.answers(timeout_seconds)

    def step_times(self) -> list[dict[str, Any]]:
        """Trains one step and gives when its parts were done, of each worker.

        Raises:
            WorkerError: one ended, or took too long.
        """
        self.run(1)
        return self.run(0)

    def __exit__(self, *error: object) -> None:
        """Ends all processes."""
        self._workers.end()


def _commands(cell: Cell, task: Task, link: ShapedLink) -> Iterator[tuple[str, list[str]]]:
    """Name and command of each worker."""
    hosts: tuple[str, ...] = ()
    if cell.coupled and cell.workers > 1:
        is_shaped = bool(link.namespaces)
        hosts = link.hosts(cell.workers) if is_shaped else tuple(free_addresses(cell.workers))
    for index in range(cell.workers):
        own = replace(task, variant=cell.variant, hosts=hosts, index=index if hosts else 0)
        prefix = link.command(index) if link.namespaces else _prefix(cell, index)
        yield f"{cell.variant}, worker {index}", [*prefix, *module_command("worker", own)]


def _prefix(cell: Cell, index: int) -> list[str]:
    """What lets a worker see only the first GPUs, or have only its part of shared cores."""
    if cell.gpus:
        return ["env", f"CUDA_VISIBLE_DEVICES={','.join(map(str, range(cell.gpus)))}"]
    # Ours takes its part by itself when it is one of several, and so it must when it is alone.
    is_ours_alone = cell.variant.system == "tfscale" and not cell.coupled
    return on_own_cores(cell.workers, index) if is_ours_alone else []
