"""Pictures of what was measured."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tfscale.bench.results import Row, link_name
from tfscale.bench.timeline import LANES, Span, exposed_of

# Okabe and Ito's colours, which the colour-blind can tell apart too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LANE_COLOURS = dict(zip(LANES, ("#56B4E9", "#0072B2", "#D55E00", "#009E73"), strict=True))


def draw_scaling(rows: Sequence[Row], path: Path) -> None:
    """Throughput and efficiency over workers, a pair of panels for each workload and link."""
    shown = [row for row in rows if row["coupled"]]
    panels = list(dict.fromkeys((row["profile"], link_name(row)) for row in shown))
    systems = list(dict.fromkeys(row["system"] for row in shown))
    colours = dict(zip(systems, (_COLOURS * len(systems))[: len(systems)], strict=True))
    figure = Figure(figsize=(4.2 * len(panels) + 1, 7.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(panels), squeeze=False)
    for column, panel in enumerate(panels):
        group = [row for row in shown if (row["profile"], link_name(row)) == panel]
        _throughput(axes[0][column], group, colours)
        _efficiency(axes[1][column], group, colours)
        axes[0][column].set_title(", ".join(panel))
    axes[0][0].set_ylabel("examples/s, all workers")
    axes[1][0].set_ylabel("scaling efficiency, %")
    by_label: dict[str, Any] = {}
    for axis in axes[0]:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            by_label.setdefault(label, handle)
    figure.legend(
        list(by_label.values()), list(by_label), loc="outside lower center", ncols=3, frameon=False
    )
    figure.savefig(path, dpi=120)


def _throughput(axis: Any, rows: Sequence[Row], colours: dict[str, str]) -> None:  # noqa: ANN401
    workers = sorted({row["workers"] for row in rows})
    best = max((row["examples_per_second"] for row in rows if row["workers"] == 1), default=None)
    if best:
        ideal = [best * count for count in workers]
        axis.plot(workers, ideal, "--", color="grey", label="ideal")
    for system, colour in colours.items():
        own = sorted((r for r in rows if r["system"] == system), key=lambda r: r["workers"])
        if own:
            rates = [row["examples_per_second"] for row in own]
            spread = [_spread_of_rate(row) for row in own]
            errors = [[low for low, _ in spread], [high for _, high in spread]]
            xs = [row["workers"] for row in own]
            axis.errorbar(xs, rates, errors, fmt="o-", color=colour, capsize=3, label=system)
    _over_workers(axis, workers)
    axis.set_ylim(bottom=0)


def _spread_of_rate(row: Row) -> tuple[float, float]:
    middle = row["examples_per_second"]
    rates = [middle * row["step_seconds_median"] / seconds for seconds in row["step_seconds"]]
    return middle - min(rates), max(rates) - middle


def _efficiency(axis: Any, rows: Sequence[Row], colours: dict[str, str]) -> None:  # noqa: ANN401
    counts = sorted({row["workers"] for row in rows})
    axis.axhline(100, ls="--", color="grey")
    for system, colour in colours.items():
        own = [r for r in rows if r["system"] == system and r["efficiency"] is not None]
        own.sort(key=lambda row: row["workers"])
        if own:
            middle = [100 * row["efficiency"] for row in own]
            # The ratio of medians may lie outside of the blocks' ratios.
            lows = [max(m - 100 * r["efficiency_low"], 0) for m, r in zip(middle, own, strict=True)]
            highs = [
                max(100 * r["efficiency_high"] - m, 0) for m, r in zip(middle, own, strict=True)
            ]
            xs = [row["workers"] for row in own]
            axis.errorbar(xs, middle, [lows, highs], fmt="o-", color=colour, capsize=3)
    _over_workers(axis, counts)
    axis.set_ylim(0, 110)
    axis.set_xlabel("workers")


def _over_workers(axis: Any, workers: Sequence[int]) -> None:  # noqa: ANN401
    axis.set_xscale("log", base=2)
    axis.set_xticks(workers, [str(count) for count in workers])
    axis.minorticks_off()
    axis.grid(alpha=0.3)


def draw_timeline(spans: Sequence[Span], title: str, path: Path) -> None:
    """One step of each worker: what ran when, and what of the communication was exposed."""
    workers = sorted({span.worker for span in spans})
    figure = Figure(figsize=(12, 0.6 + 2.0 * len(workers)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(workers), 1, sharex=True, squeeze=False)[:, 0]
    start = min(span.start for span in spans)
    for axis, worker in zip(axes, workers, strict=True):
        own = [span for span in spans if span.worker == worker]
        for span, row, height in _rows_of(own):
            left, width = 1000 * (span.start - start), 1000 * (span.end - span.start)
            axis.barh(
                row,
                width,
                left=left,
                height=height,
                color=_LANE_COLOURS[span.lane],
                alpha=0.75,
                edgecolor="white",
                linewidth=0.6,
            )
            total = 1000 * (max(s.end for s in own) - start)
            if span.lane != "all-reduce" and width > 0.03 * total:
                axis.text(left + width / 2, row, span.name, ha="center", va="center", fontsize=7)
        begin, end = exposed_of(own)
        axis.axvspan(1000 * (begin - start), 1000 * (end - start), color="#D55E00", alpha=0.18)
        share = (end - begin) / (max(s.end for s in own) - min(s.start for s in own))
        text = f"exposed {1000 * (end - begin):.1f} ms, {100 * share:.1f} %"
        axis.set_title(f"worker {worker}: {text}", loc="left", fontsize=9)
        axis.set_yticks(range(len(LANES)), LANES)
        axis.invert_yaxis()
    axes[-1].set_xlabel("milliseconds")
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=120)


def _rows_of(spans: Sequence[Span]) -> list[tuple[Span, float, float]]:
    """Where to draw each span: (span, middle, height); buckets that overlap share their lane."""
    buckets = sorted((s for s in spans if s.lane == "all-reduce"), key=lambda s: s.start)
    depth = max((sum(b.start <= a.start < b.end for b in buckets) for a in buckets), default=1)
    placed = [(s, float(LANES.index(s.lane)), 0.8) for s in spans if s.lane != "all-reduce"]
    lane, height = LANES.index("all-reduce"), 0.8 / max(depth, 1)
    for number, bucket in enumerate(buckets):
        placed.append((bucket, lane - 0.4 + height * (number % max(depth, 1) + 0.5), height))
    return placed
