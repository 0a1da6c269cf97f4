"""What step times say, as plain arithmetic: medians, rates, and shares of the time.

Nothing here looks at a clock. One Python call runs many steps on the device, so that a block of
steps is what is timed; the tests invent blocks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def quantile(values: Sequence[float], share: float, counts: Sequence[int]) -> float:
    """The smallest value that at least a share of all values don't exceed.

    Args:
        values: at least one number, in any order.
        share: 0 (gives the smallest) to 1 (gives the largest).
        counts: how often each value is there, at least once.
    """
    found = np.quantile(values, share, weights=counts, method="inverted_cdf")
    return float(found)


@dataclass(frozen=True)
class Block:
    """Some steps of all workers, one after the other.

    Steps are synchronous: the slowest worker's time is everybody's. What workers spend otherwise in
    it is the mean of theirs, so that every share of a block is that mean over this one time.

    Args:
        steps: at least 1.
        seconds: from the start of the first step to the end of the last one, on the slowest
            worker; above 0.
        input_wait_seconds: of these, spent waiting for input, the mean of the workers; at least 0.
        exposed_seconds: in which gradients travelled when backward was over, the mean.
        travel_seconds: in which gradients travelled at all, the mean.

    Raises:
        ValueError: a number out of its range.
    """

    steps: int
    seconds: float
    input_wait_seconds: float
    exposed_seconds: float = 0.0
    travel_seconds: float = 0.0

    def __post_init__(self) -> None:
        """Refuses what no clock gives."""
        steps, seconds, waited = self.steps, self.seconds, self.input_wait_seconds
        if steps < 1 or not 0 < seconds < math.inf or not waited >= 0:
            raise ValueError(
                f"Block({steps=}, {seconds=}, input_wait_seconds={waited}) is no block of steps; "
                "expected steps >= 1, seconds > 0 and input_wait_seconds >= 0. "
                "Time it with time.perf_counter()."
            )

    @property
    def step_seconds(self) -> float:
        """Seconds of one step."""
        return self.seconds / self.steps

    @property
    def input_wait_share(self) -> float:
        """Share of the time that the workers waited for input, 0 to 1."""
        return min(1.0, self.input_wait_seconds / self.seconds)

    @property
    def exposed_share(self) -> float:
        """Share of the time that gradients travelled when backward was over, 0 to 1."""
        return min(1.0, self.exposed_seconds / self.seconds)


class StepTimes:
    """The step times of one run, fed block by block.

    The first block holds tracing and the filling of buffers. It is left out of every number as
    soon as there is a second one. A block of k steps counts as k steps of an equal share each.
    """

    def __init__(self) -> None:
        self.blocks: list[Block] = []  # all that were counted, the first one too

    def add(self, block: Block) -> None:
        """Counts a block of steps."""
        self.blocks.append(block)

    @property
    def num_steps(self) -> int:
        """How many steps the numbers rest on, without the warm-up; 0 before the first block."""
        return sum(block.steps for block in self.blocks[self._first :])

    @property
    def useful_seconds(self) -> float:
        """Seconds of all steps, each as long as it took, the first ones too."""
        return sum(block.seconds for block in self.blocks)

    @property
    def step_seconds_median(self) -> float:
        """Seconds of the middle step."""
        return self._quantile_of_steps(0.5)

    @property
    def step_seconds_p95(self) -> float:
        """Seconds that one step in twenty exceeds."""
        return self._quantile_of_steps(0.95)

    @property
    def input_wait_share(self) -> float:
        """Share of the time that the workers waited for input, 0 to 1; see `Block`."""
        return self._share([block.input_wait_share for block in self._measured()])

    @property
    def exposed_share(self) -> float:
        """Share of the time that gradients travelled when backward was over, 0 to 1."""
        return self._share([block.exposed_share for block in self._measured()])

    @property
    def travel_seconds(self) -> float:
        """Seconds of a step in which gradients travelled, the mean."""
        blocks = self._measured()
        return sum(b.travel_seconds for b in blocks) / sum(b.steps for b in blocks)

    def examples_per_second(self, global_batch: int) -> dict[str, float]:
        """Give the rate of all workers together: `median`, and its range `p10` to `p90`.

        Args:
            global_batch: examples of one step over all workers.
        """
        blocks = self._measured()
        rates = [global_batch / block.step_seconds for block in blocks]
        counts = [block.steps for block in blocks]
        shares = {"median": 0.5, "p10": 0.1, "p90": 0.9}
        return {name: quantile(rates, share, counts) for name, share in shares.items()}

    def _share(self, of_blocks: Sequence[float]) -> float:
        """The shares of blocks, each weighed by its time."""
        seconds = [block.seconds for block in self._measured()]
        return float(np.average(of_blocks, weights=seconds))

    def _quantile_of_steps(self, share: float) -> float:
        blocks = self._measured()
        return quantile(
            [block.step_seconds for block in blocks], share, [block.steps for block in blocks]
        )

    @property
    def _first(self) -> int:
        return 1 if len(self.blocks) > 1 else 0

    def _measured(self) -> list[Block]:
        if not self.blocks:
            raise ValueError("No step was timed yet; call add() first, or ask num_steps.")
        return self.blocks[self._first :]
