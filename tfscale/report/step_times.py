"""What step times say, as plain arithmetic: medians, rates, waiting, and how long to loop.

Nothing here looks at a clock. The trainer times blocks of steps, because one Python call runs
several steps on the device, and feeds the times in; so the tests can invent them.
"""

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass


def percentile(values: Sequence[float], q: float, counts: Sequence[int] | None = None) -> float:
    """Give the value below which `q` percent lie, with linear interpolation as in NumPy.

    Args:
        values: at least one number, in any order.
        q: 0 (the smallest) to 100 (the largest).
        counts: how often each value is there, once each if None. The result is that of the
            list written out, which a long run could not hold.

    Raises:
        ValueError: no values, `q` out of range, or counts that do not fit the values.
    """
    if not values or not 0 <= q <= 100:
        raise ValueError(f"percentile got {len(values)} values and q={q}; give values, q in 0..100")
    if counts is None:
        counts = [1] * len(values)
    ordered = sorted(zip(values, counts, strict=True))
    ends = list(itertools.accumulate(count for _, count in ordered))
    position = (ends[-1] - 1) * q / 100
    below = math.floor(position)
    low, high = (
        ordered[bisect.bisect_right(ends, min(rank, ends[-1] - 1))][0]
        for rank in (below, below + 1)
    )
    return low + (high - low) * (position - below)


@dataclass(frozen=True)
class _Block:
    steps: int
    seconds: float
    input_wait_seconds: float
    exposed_seconds: float
    travel_seconds: float

    @property
    def step_seconds(self) -> float:
        return self.seconds / self.steps


class StepTimes:
    """The step times of one run on one worker, fed block by block.

    The first block holds tracing and the filling of buffers. It is left out of every number as
    soon as there is a second one. A block of k steps counts as k steps of an equal share each.
    """

    def __init__(self) -> None:
        """Start without a step."""
        self._blocks: list[_Block] = []

    def add(
        self,
        steps: int,
        seconds: float,
        input_wait_seconds: float,
        exposed_seconds: float = 0.0,
        travel_seconds: float = 0.0,
    ) -> None:
        """Count a block of steps.

        Args:
            steps: at least 1.
            seconds: time from the start of its first step to the end of its last one, above 0.
            input_wait_seconds: how much of it the steps waited for input, at least 0. Whatever
                exceeds `seconds` (input fetched ahead of the block) is not counted.
            exposed_seconds: how much of it gradients travelled when backward was over.
            travel_seconds: how much of it gradients travelled at all.

        Raises:
            ValueError: a number out of its range.
        """
        if steps < 1 or not 0 < seconds < math.inf or not input_wait_seconds >= 0:
            raise ValueError(
                f"add({steps=}, {seconds=}, {input_wait_seconds=}) is no block of steps; "
                "expected steps >= 1, seconds > 0 and input_wait_seconds >= 0. "
                "Time it with time.perf_counter()."
            )
        waited = min(input_wait_seconds, seconds)
        self._blocks.append(_Block(steps, seconds, waited, exposed_seconds, travel_seconds))

    @property
    def num_steps(self) -> int:
        """How many steps the numbers rest on, without the warm-up; 0 before the first block."""
        return sum(block.steps for block in self._blocks[self._first :])

    @property
    def step_seconds_median(self) -> float:
        """Seconds of the middle step."""
        return self._percentile_of_steps(50)

    @property
    def step_seconds_p95(self) -> float:
        """Seconds that one step in twenty exceeds."""
        return self._percentile_of_steps(95)

    @property
    def input_wait_share(self) -> float:
        """Share of the time that the steps waited for input, 0 to 1."""
        blocks = self._measured()
        return sum(block.input_wait_seconds for block in blocks) / sum(
            block.seconds for block in blocks
        )

    @property
    def exposed_share(self) -> float:
        """Share of the time that gradients travelled when backward was over, 0 to 1."""
        blocks = self._measured()
        total = sum(block.seconds for block in blocks)
        return min(1.0, sum(block.exposed_seconds for block in blocks) / total)

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
        names = {"median": 50, "p10": 10, "p90": 90}
        return {name: percentile(rates, q, counts) for name, q in names.items()}

    def _percentile_of_steps(self, q: float) -> float:
        blocks = self._measured()
        return percentile(
            [block.step_seconds for block in blocks], q, [block.steps for block in blocks]
        )

    @property
    def _first(self) -> int:
        return 1 if len(self._blocks) > 1 else 0

    def _measured(self) -> list[_Block]:
        if not self._blocks:
            raise ValueError("No step was timed yet; call add() first, or ask num_steps.")
        return self._blocks[self._first :]
