"""What was measured, as `reading.json` and as tables to read."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.bench.blocks import ratios, with_range, write_both
from tools.bench.reading.formats import FORMATS, RESNET_BATCH, RESNET_BYTES

Blocks = Sequence[dict[str, float]]

_BASE = "bare tf.data"
_METHOD = (
    "Systems took turns, block by block, in one run on {cores} cores. Figures are medians of the "
    "blocks, with the least and the most in brackets; the share is that of medians, with the range "
    "of blocks that were measured next to each other. Files were in the system's memory. The "
    "processor's time is for an example, in all of a system's processes."
)


@dataclass
class Results:
    """All of a run.

    Args:
        cores: that it had.
        examples: pictures of each data set.
        rates: by data set and system, of each block `examples_per_second` and
            `processor_seconds` of an example.
        step_seconds: of the emulated accelerator; 0 where there was none.
        utilisation: of the accelerator, by where the files were and by system, of each block.
        position_seconds: to the first batch of a late position, of each try.
    """

    cores: int
    examples: int
    rates: dict[str, dict[str, list[dict[str, float]]]] = field(default_factory=dict)
    step_seconds: float = 0.0
    utilisation: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    position_seconds: list[float] = field(default_factory=list)


def rows_of(results: Results) -> list[dict[str, Any]]:
    """A row for each data set and system."""
    rows = []
    for data_set, systems in results.rates.items():
        for system, blocks in systems.items():
            rates = [block["examples_per_second"] for block in blocks]
            median = median_rate(blocks)
            base = [block["examples_per_second"] for block in systems.get(_BASE, [])]
            shares = ratios(rates, base) if base else []
            rows.append(
                {
                    "data_set": data_set,
                    "system": system,
                    "examples_per_second": rates,
                    "examples_per_second_median": median,
                    "examples_per_second_and_core": median / results.cores,
                    "processor_seconds_per_example": statistics.median(
                        block["processor_seconds"] for block in blocks
                    ),
                    "share_of_bare": median / statistics.median(base) if base else None,
                    "share_of_bare_low": min(shares, default=None),
                    "share_of_bare_high": max(shares, default=None),
                }
            )
    return rows


def median_rate(blocks: Blocks) -> float:
    """Examples a second."""
    return statistics.median(block["examples_per_second"] for block in blocks)


def markdown(results: Results) -> str:
    """Tables to read, and how they were made."""
    lines = [
        "### Reading",
        "",
        f"| data set | system | examples/s | of {_BASE} | examples/s and core | processor, ms |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows_of(results):
        share = "-"
        if row["share_of_bare"] is not None and row["system"] != _BASE:
            low, high = 100 * row["share_of_bare_low"], 100 * row["share_of_bare_high"]
            share = f"{100 * row['share_of_bare']:.1f} % ({low:.1f} to {high:.1f})"
        cells = (
            FORMATS[row["data_set"]].what,
            row["system"],
            with_range(row["examples_per_second"], ",.0f"),
            share,
            f"{row['examples_per_second_and_core']:,.0f}",
            f"{1000 * row['processor_seconds_per_example']:.3g}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", _METHOD.format(cores=results.cores), *_others(results)]) + "\n"


def write(results: Results, folder: Path) -> None:
    """Writes `reading.json` and `reading.md`."""
    content = {
        "cores": results.cores,
        "examples": results.examples,
        "rows": rows_of(results),
        "accelerator": {
            "batch": RESNET_BATCH,
            "record_bytes": RESNET_BYTES,
            "step_seconds": results.step_seconds,
            "utilisation": results.utilisation,
        },
        "position_seconds": results.position_seconds,
    }
    write_both(folder, "reading", content, markdown(results))


def _others(results: Results) -> list[str]:
    lines: list[str] = []
    if results.utilisation:
        needed = RESNET_BATCH / results.step_seconds
        lines += [
            "",
            f"An accelerator that takes {RESNET_BATCH} records of {RESNET_BYTES:,} bytes and "
            f"{1000 * results.step_seconds:.3g} ms for them, {needed:,.0f} records/s, works so "
            "much of the time (accelerator's time over the whole):",
            "",
            f"| files come from | {' | '.join(next(iter(results.utilisation.values())))} |",
            f"| --- |{' --- |' * len(next(iter(results.utilisation.values())))}",
        ]
        for source, systems in results.utilisation.items():
            cells = [with_range([100 * share for share in found]) for found in systems.values()]
            lines.append(f"| {source} | {' | '.join(f'{cell} %' for cell in cells)} |")
    if results.position_seconds:
        lines += [
            "",
            "The first batch at record 900,000 of 1,000,000, from the listing of the file on: "
            f"{with_range(results.position_seconds, '.3g')} s.",
        ]
    return lines
