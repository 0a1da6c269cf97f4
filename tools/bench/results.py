"""What was measured, as `scaling.json` and as a table to read."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.bench.blocks import ratios, with_range, write_both
from tools.bench.groups import Cell
from tools.bench.sweep import Measured

Row = dict[str, Any]

_METHOD = (
    "Systems and numbers of workers took turns, block by block, in one run; each worker had the "
    "same batch, however many there were. Step times are medians of {blocks}, with the fastest and "
    "the slowest in brackets."
)
_EFFICIENCY = (
    " Efficiency is the speed as a share of the speed of {base}, with the range of blocks that "
    "were measured next to each other."
)
_BASES = {
    "one worker": "the same system with one worker",
    "uncoupled": "as many workers of the same system that train alone at the same time",
}


def rows_of(measured: Sequence[Measured], profile: str, examples_per_step: int) -> list[Row]:
    """The rows of `scaling.json`.

    Args:
        measured: together, in turns; a cell is compared with another of its own link only.
        profile: what was trained.
        examples_per_step: of one replica.
    """
    by_cell = {result.cell: result for result in measured}
    return [_row(result, by_cell, profile, examples_per_step) for result in measured]


def _row(
    result: Measured, by_cell: Mapping[Cell, Measured], profile: str, examples_per_step: int
) -> Row:
    cell, options = result.cell, result.cell.variant.options
    base, baseline = _base_of(cell, by_cell)
    shares = ratios(base.step_seconds, result.step_seconds) if base else []
    return {
        "system": str(cell.variant),
        "profile": profile,
        "workers": cell.replicas,
        "coupled": cell.coupled,
        "link_mbps": cell.link_mbps or None,
        "wire_dtype": options.wire_dtype,
        "bucket_mb": options.bucket_mb or None,
        "compress": options.compress,
        "steps_per_block": result.steps,
        "step_seconds": result.step_seconds,
        "step_seconds_median": result.median,
        "examples_per_second": examples_per_step * cell.replicas / result.median,
        "baseline": baseline,
        "efficiency": base.median / result.median if base else None,
        "efficiency_low": min(shares, default=None),
        "efficiency_high": max(shares, default=None),
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
    """Two tables for each workload and link: a line for each system, a column for each size."""
    parts = []
    for title in titles(rows):
        own = [row for row in rows if title_of(row) == title]
        parts += [
            f"### {title}",
            "Milliseconds of a step and scaling efficiency:",
            _table(own, _step),
            "Examples/s of all workers together, and memory of the largest worker:",
            _table(own, _rate),
        ]
    return "\n\n".join([*parts, _method(rows)]) + "\n"


def titles(rows: Sequence[Row]) -> list[str]:
    """Each workload and link that was measured, in order."""
    return list(dict.fromkeys(title_of(row) for row in rows))


def title_of(row: Mapping[str, Any]) -> str:
    """Workload and link of a row, for the reader."""
    return f"{row['profile']}, {link_name(row)}"


def link_name(row: Mapping[str, Any]) -> str:
    """The link of a row, for the reader."""
    return f"{row['link_mbps']:g} Mbit/s" if row["link_mbps"] else "loopback"


def _method(rows: Sequence[Row]) -> str:
    blocks = sorted({len(row["step_seconds"]) for row in rows})
    count = " or ".join(map(str, blocks)) + (" block" if blocks == [1] else " blocks")
    shown = {row["baseline"] for row in rows if row["workers"] > 1}
    bases = ", or ".join(text for name, text in _BASES.items() if name in shown)
    return _METHOD.format(blocks=count) + (_EFFICIENCY.format(base=bases) if bases else "")


def _step(row: Row) -> str:
    text = with_range([1000 * seconds for seconds in row["step_seconds"]])
    if row["efficiency"] is None or row["workers"] == 1:
        return text
    low, high = 100 * row["efficiency_low"], 100 * row["efficiency_high"]
    against = " of uncoupled" if row["baseline"] == "uncoupled" else ""
    return f"{text}, {100 * row['efficiency']:.1f} %{against} ({low:.1f} to {high:.1f})"


def _rate(row: Row) -> str:
    return f"{row['examples_per_second']:.4g}, {row['peak_bytes'] / 2**20:.0f} MiB"


def _table(rows: Sequence[Row], cell: Callable[[Row], str]) -> str:
    """One line a system, one column a number of workers; padded, to be readable as it is."""
    sizes = sorted({row["workers"] for row in rows})
    texts: dict[str, dict[int, str]] = {}
    for row in rows:
        name = row["system"] + ("" if row["coupled"] else ", each alone")
        texts.setdefault(name, {})[row["workers"]] = cell(row)
    heads = ["1 worker" if size == 1 else f"{size} workers" for size in sizes]
    lines = [["system", *heads]]
    lines += [[name, *(of.get(size, "-") for size in sizes)] for name, of in texts.items()]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    padded = [[text.ljust(n) for text, n in zip(line, widths, strict=True)] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def write(rows: Sequence[Row], folder: Path) -> None:
    """Writes `scaling.json` and `scaling.md`."""
    write_both(folder, "scaling", list(rows), markdown(rows))
