"""What the terminal and TensorBoard's text tab show: tables, and what to type next."""

import html
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tfscale.process.printable import one_printable_line
from tfscale.process.shell import curves_command, load_command

_WIDTH = 110


def table(title: str, rows: Mapping[str, object]) -> str:
    """Two columns as text for a terminal of any width."""
    grid = Table(title=title, box=box.SIMPLE, show_header=False, title_justify="left", width=_WIDTH)
    grid.add_column(style=None, no_wrap=True)
    grid.add_column(style=None, overflow="fold")
    for name, value in rows.items():
        grid.add_row(name, str(value))
    text = io.StringIO()
    Console(file=text, width=_WIDTH, highlight=False, markup=False, color_system=None).print(grid)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines() if line.strip())


def markdown(rows: Mapping[str, object]) -> str:
    """Two columns as TensorBoard's text tab shows them; what looks like Markdown isn't any."""
    lines = [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows.items()]
    return "\n".join(["| setting | value |", "| --- | --- |", *lines])


def _cell(value: object) -> str:
    text = html.escape(one_printable_line(str(value)), quote=False).replace("|", "/")
    return re.sub(r"([\[\]`\\])", r"\\\1", text)


def rounded(value: float) -> str:
    """A metric with four digits behind the point, or four in all where those would be zeros."""
    return f"{value:.4f}" if abs(value) > 1e-3 or value == 0 else f"{value:.3e}"


def closing_rows(report: Mapping[str, Any], run_dir: object) -> dict[str, object]:
    """The closing table: what came out, how fast, and where it is."""
    rate, step = report["examples_per_second"], report["step_seconds"]
    waited = report["share_of_step"]["input_wait"]
    rows: dict[str, object] = {
        "result": ", ".join(
            f"{name} {rounded(value)}"
            for name, value in report["metrics"].items()
            if isinstance(value, float)
        ),
        "speed": (
            f"{rate['median']:.0f} examples/s ({rate['p10']:.0f} to {rate['p90']:.0f}), "
            f"{1000 * step['median']:.1f} ms a step"
        ),
        "waiting for input": f"{100 * waited:.0f} % of a step{_why(report)}",
        **_communication_rows(report),
        **_bad_rows(report),
        "time": ", ".join(f"{name} {value:.1f} s" for name, value in report["seconds"].items()),
        "files": f"{run_dir}/report.json, config.json, {_model_files(report)}tensorboard/, logs/",
    }
    return rows


def _why(report: Mapping[str, Any]) -> str:
    found = report.get("input")
    return f"; {found['hint']}" if found else ""


def _model_files(report: Mapping[str, Any]) -> str:
    file = report["model"]["file"]
    return f"{file}, " if file else ""


def _bad_rows(report: Mapping[str, Any]) -> dict[str, object]:
    """How many records were skipped."""
    bad = report.get("bad_examples") or {}
    told = [
        f"{found['count']} of {split} skipped, such as {found['records'][0]}"
        for split, found in bad.items()
    ]
    return {"bad examples": "; ".join(told)} if told else {}


def _communication_rows(report: Mapping[str, Any]) -> dict[str, object]:
    sent = report["communication"]
    rows: dict[str, object] = {}
    if sent["bus_bandwidth"]:
        kinds = ""
        if sent["sparse_gradients"] or sent["densified_gradients"]:
            kinds = (
                f"; {sent['sparse_gradients']} gradients of rows travel as rows, "
                f"{sent['densified_gradients']} as full ones"
            )
        rows["communication"] = (
            f"{100 * report['share_of_step']['exposed_communication']:.0f} % of a step exposed; "
            f"{sent['sent_bytes_per_step'] / 2**20:.2f} MiB a step in {sent['buckets']} buckets, "
            f"{sent['bus_bandwidth'] / 1e9:.3g} GB/s{kinds}"
        )
    if report["scaling_efficiency"] is not None:
        rows["scaling efficiency"] = f"{100 * report['scaling_efficiency']:.1f} % of one replica's"
    return rows


def next_commands(run_dir: object, load: str = "") -> str:
    """What to type next, each on a line of its own, so that it can be copied into a shell.

    Args:
        run_dir: of the run.
        load: the command that loads the model; plain Keras's unless given.
    """
    folder = Path(str(run_dir))
    load = load or load_command(folder / "model.keras")
    return f"  curves:  {curves_command(folder / 'tensorboard')}\n  model:   {load}"
