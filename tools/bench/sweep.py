"""Measures cells against each other: interleaved, block by block."""

import contextlib
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tools.bench.groups import Cell, Group
from tools.bench.links import ShapedLink, shaped
from tools.bench.task import Task

_CALIBRATION_SECONDS = 0.5
_MOST_STEPS = 100_000


@dataclass
class Measured:
    """What was measured of one cell.

    Args:
        cell: which.
        steps: of a block.
        step_seconds: of each block, the slowest worker's.
        peak_bytes: resident memory of the largest worker.
    """

    cell: Cell
    steps: int = 0
    step_seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0

    @property
    def median(self) -> float:
        """Seconds of a step."""
        return statistics.median(self.step_seconds)


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Args:
        task: what is trained.
        cells: what is compared, on one link.
        blocks: measured of each cell.
        block_seconds: how long a block lasts at least.
    """

    task: Task
    cells: Sequence[Cell]
    blocks: int
    block_seconds: float


def measure(plan: Plan, say: Callable[[str], None]) -> list[Measured]:
    """Runs all cells alive side by side, and a block of each in turn.

    While one trains the others wait for their orders and use no processor.

    Args:
        plan: what to measure; all cells have the same link.
        say: gets a line for each round.

    Raises:
        WorkerError: a worker ended or didn't answer.
        ConfigError: the link can't be made.
    """
    measured = [Measured(cell) for cell in plan.cells]
    mbps = plan.cells[0].link_mbps
    most = max(cell.workers for cell in plan.cells)
    with contextlib.ExitStack() as stack:
        groups = []
        for cell in plan.cells:
            is_linked = mbps > 0 and cell.workers > 1 and cell.coupled
            # A link of its own for each, so that all can have the same ports.
            link = stack.enter_context(shaped(cell.workers, mbps)) if is_linked else ShapedLink()
            groups.append(stack.enter_context(Group(cell, plan.task, link)))
            groups[-1].wait()  # one after the other: a start loads all cores
        for group, result in zip(groups, measured, strict=True):
            result.steps = _steps_of_block(group, plan.block_seconds)
        for block in range(plan.blocks):
            for group, result in zip(groups, measured, strict=True):
                answers = group.run(result.steps)
                slowest = max(answer["seconds"] for answer in answers)
                result.step_seconds.append(slowest / result.steps)
                largest = max(answer["peak_bytes"] for answer in answers)
                result.peak_bytes = max(result.peak_bytes, largest)
            say(f"up to {most} workers, block {block + 1} of {plan.blocks}")
    return measured


def _steps_of_block(group: Group, block_seconds: float) -> int:
    """How many steps last long enough, found by trying ever more."""
    steps = 2
    while True:
        seconds = float(max(answer["seconds"] for answer in group.run(steps)))
        if seconds >= _CALIBRATION_SECONDS or steps == _MOST_STEPS:
            return int(min(_MOST_STEPS, max(2, round(steps * block_seconds / seconds))))
        steps = min(4 * steps, _MOST_STEPS)
    raise AssertionError("unreachable")
