"""Whether a 16-bit wire changes what is learned: against the spread that seeds make anyway."""

import json
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from tfscale.bench import runs
from tfscale.bench.programs.task import WholeTask
from tfscale.cluster.ports import free_addresses
from tfscale.files import atomic

_WORKERS = 2


@dataclass(frozen=True)
class WireLosses:
    """The loss at the end of training with each seed.

    Args:
        wire_dtype: what is compared with float32.
        steps: of each training; the loss is the mean over the last quarter of them.
        exact: with a float32 wire, one value a seed.
        rounded: with `wire_dtype`, for the same seeds.
    """

    wire_dtype: str
    steps: int
    exact: tuple[float, ...]
    rounded: tuple[float, ...]

    @property
    def spread(self) -> float:
        """The distance from the lowest to the highest loss with a float32 wire."""
        return max(self.exact) - min(self.exact)

    @property
    def difference(self) -> float:
        """The mean of `rounded` less the mean of `exact`."""
        return statistics.fmean(self.rounded) - statistics.fmean(self.exact)


def measure(*, wire_dtype: str, seeds: int, steps: int, say: Callable[[str], None]) -> WireLosses:
    """Trains the small ResNet on two workers with either wire, once a seed.

    Args:
        wire_dtype: "float16" or "bfloat16".
        seeds: how many.
        steps: of each training, a multiple of 4.
        say: gets a line a seed.

    Raises:
        BenchmarkError: a training failed or took too long.
    """
    exact, rounded = [], []
    for seed in range(seeds):
        exact.append(_loss("float32", seed, steps))
        rounded.append(_loss(wire_dtype, seed, steps))
        say(f"seed {seed}: float32 {exact[-1]:.5f}, {wire_dtype} {rounded[-1]:.5f}")
    return WireLosses(wire_dtype, steps, tuple(exact), tuple(rounded))


def _loss(wire_dtype: str, seed: int, steps: int) -> float:
    hosts = tuple(free_addresses(_WORKERS))
    with tempfile.TemporaryDirectory() as folder:
        tasks = [
            WholeTask(hosts, index, 4, steps // 4, folder, seed, wire_dtype)
            for index in range(_WORKERS)
        ]
        return runs.run("ours", tasks).answers[0]["loss"]


def markdown(losses: WireLosses) -> str:
    """The losses, and what they say."""
    lines = [
        f"### The loss of small-resnet after {losses.steps} steps, {_WORKERS} workers",
        "",
        f"| seed | float32 wire | {losses.wire_dtype} wire | difference |",
        "| --- | --- | --- | --- |",
    ]
    for seed, (exact, rounded) in enumerate(zip(losses.exact, losses.rounded, strict=True)):
        lines.append(f"| {seed} | {exact:.5f} | {rounded:.5f} | {rounded - exact:+.5f} |")
    lines += [
        "",
        f"The means differ by {losses.difference:+.5f}; seeds alone spread the float32 losses "
        f"over {losses.spread:.5f}.",
    ]
    return "\n".join(lines) + "\n"


def write(losses: WireLosses, folder: Path) -> None:
    """Writes `wire-losses.json` and `wire-losses.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    atomic.write_text(folder / "wire-losses.json", json.dumps(asdict(losses), indent=1) + "\n")
    atomic.write_text(folder / "wire-losses.md", markdown(losses))
