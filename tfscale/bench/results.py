"""What was measured, as `scaling.json` and as a table to read."""

import json
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tfscale.bench.groups import Cell
from tfscale.bench.sweep import Measured, efficiencies

Row = dict[str, Any]

_METHOD = (
    "Systems took turns, block by block, in one run; figures are medians of the blocks with their "
    "range. Efficiency compares with the same system on one worker{uncoupled}, with the same batch "
    "on each worker."
)
_UNCOUPLED = ", or where it says so with as many workers that train alone at the same time"


def rows_of(measured: Sequence[Measured], profile: str, examples_per_step: int) -> list[Row]:
    """The rows of `scaling.json`.

    Args:
        measured: of one link or several.
        profile: what was trained.
        examples_per_step: of one replica.
    """
    by_cell = {result.cell: result for result in measured}
    return [_row(result, by_cell, profile, examples_per_step) for result in measured]


def _row(
    result: Measured, by_cell: Mapping[Cell, Measured], profile: str, examples_per_step: int
) -> Row:
    cell = result.cell
    base, baseline = _base_of(cell, by_cell)
    ratios = efficiencies(result, base) if base else []
    return {
        "system": str(cell.variant),
        "profile": profile,
        "workers": cell.replicas,
        "coupled": cell.coupled,
        "link_mbps": cell.link_mbps or None,
        **{k: v for k, v in asdict(cell.variant.options).items() if k != "devices"},
        "steps_per_block": result.steps,
        "step_seconds": result.step_seconds,
        "step_seconds_median": result.median,
        "examples_per_second": examples_per_step * cell.replicas / result.median,
        "baseline": baseline,
        "efficiency": base.median / result.median if base else None,
        "efficiency_low": min(ratios, default=None),
        "efficiency_high": max(ratios, default=None),
        "peak_bytes": result.peak_bytes,
    }


def _base_of(cell: Cell, by_cell: Mapping[Cell, Measured]) -> tuple[Measured | None, str | None]:
    """What a cell's efficiency is against."""
    alone = Cell(cell.variant, cell.workers, False, cell.link_mbps)
    if cell.coupled and cell.workers > 1 and alone in by_cell:
        return by_cell[alone], "uncoupled"
    first = Cell(cell.variant, 1, True, cell.link_mbps, min(cell.gpus, 1))
    return (by_cell[first], "one worker") if cell.coupled and first in by_cell else (None, None)


def markdown(rows: Sequence[Row]) -> str:
    """A table for each workload and link: a line for each system and number of workers."""
    parts = []
    for title, group in _grouped(rows, lambda row: f"{row['profile']}, {link_name(row)}"):
        lines = [
            f"### {title}",
            "",
            "| system | workers | step, ms | examples/s | efficiency | peak memory |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        parts.append("\n".join([*lines, *(_line(row) for row in group)]))
    is_uncoupled = any(row["baseline"] == "uncoupled" for row in rows)
    method = _METHOD.format(uncoupled=_UNCOUPLED if is_uncoupled else "")
    return "\n\n".join([*parts, method]) + "\n"


def _line(row: Row) -> str:
    milliseconds = [1000 * seconds for seconds in row["step_seconds"]]
    step = (
        f"{statistics.median(milliseconds):.4g} ({min(milliseconds):.4g} to "
        f"{max(milliseconds):.4g})"
    )
    efficiency = "-"
    if row["efficiency"] is not None and row["workers"] > 1:
        low, high = 100 * row["efficiency_low"], 100 * row["efficiency_high"]
        efficiency = f"{100 * row['efficiency']:.1f} % ({low:.1f} to {high:.1f})"
        efficiency += ", against uncoupled" if row["baseline"] == "uncoupled" else ""
    workers = str(row["workers"]) + ("" if row["coupled"] else " uncoupled")
    return (
        f"| {row['system']} | {workers} | {step} | {row['examples_per_second']:.4g} | "
        f"{efficiency} | {row['peak_bytes'] / 2**20:.0f} MiB |"
    )


def link_name(row: Mapping[str, Any]) -> str:
    """The link of a row, for the reader."""
    return f"{row['link_mbps']:g} Mbit/s" if row["link_mbps"] else "loopback"


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)


def write(rows: Sequence[Row], folder: Path) -> None:
    """Writes `scaling.json` and `scaling.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "scaling.json", json.dumps(list(rows), indent=1) + "\n")
    write_text(folder / "scaling.md", markdown(rows))


def _grouped(rows: Sequence[Row], key: Callable[[Row], str]) -> list[tuple[str, list[Row]]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return list(groups.items())
