"""Pictures of what was measured."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from tfscale.files import atomic
from tfscale.structures import Foreign
from tools.bench.results import Row, title_of, titles
from tools.bench.timeline import LANES, Span, exposed_of, side_by_side

# Okabe and Ito's colours, which the colour-blind can tell apart too, and a marker for each.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = "osD^vP"
_LINE: dict[str, Any] = {"linewidth": 1.6, "markersize": 5}
# Wide, so that it is seen under a system's line too.
_IDEAL: dict[str, Any] = {"linewidth": 5.0, "color": "#D2D2D2", "solid_capstyle": "butt"}
_GREY, _INK = "#767676", "#333333"
_LANE_COLOURS = dict(zip(LANES, ("#56B4E9", "#0072B2", "#E69F00", "#009E73"), strict=True))
_EXPOSED = "#D55E00"
_APART = 0.045  # of a doubling of workers, between two systems, so that no error bar hides another
_LEGEND_LETTERS = 110  # that fit in one line
_DPI = 130


def draw_scaling(rows: Sequence[Row], path: Path) -> None:
    """Throughput and efficiency over workers: a row of two panels for each workload and link."""
    shown = [row for row in rows if row["coupled"]]
    systems = list(dict.fromkeys(row["system"] for row in shown))
    styles: dict[str, dict[str, Any]] = {
        system: {"color": _COLOURS[n % len(_COLOURS)], "marker": _MARKERS[n % len(_MARKERS)]}
        for n, system in enumerate(systems)
    }
    panels = titles(shown)
    longest = max(map(len, ["ideal", *systems]))
    columns = max(1, min(len(systems) + 1, _LEGEND_LETTERS // (longest + 6)))
    lines = math.ceil((len(systems) + 1) / columns)
    figure = _figure(10, 3.6 * max(1, len(panels)) + 0.4 + 0.22 * lines)
    axes = figure.subplots(max(1, len(panels)), 2, squeeze=False)
    least = _least_percent(shown)
    for (left, right), title in zip(axes, panels, strict=False):
        own = [row for row in rows if title_of(row) == title]
        _throughput(left, own, styles)
        _efficiency(right, own, styles, least)
        left.set_title(title, loc="left", fontsize=11, color=_INK, fontweight="bold")
    handles = [Line2D([], [], label=name, **_LINE, **style) for name, style in styles.items()]
    handles.append(Line2D([], [], label="ideal", **_IDEAL))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=9
    )
    _save(figure, path)


def _throughput(axis: Foreign, rows: Sequence[Row], styles: Mapping[str, Foreign]) -> None:
    ideal = _ideal(rows)
    axis.plot(list(ideal), list(ideal.values()), **_IDEAL, zorder=1)
    for system, own in _by_system(rows, styles):
        rates = [row["examples_per_second"] for row in own]
        ranges = [_range_of_rate(row) for row in own]
        _points(axis, [row["workers"] for row in own], rates, ranges, styles[system])
    _over_workers(axis, rows, "examples/s, all workers")
    # Logarithmic as the workers are, so that what scales is straight.
    coupled = [row for row in rows if row["coupled"]]
    seen = [end for row in coupled for end in _range_of_rate(row)] + list(ideal.values())
    powers = range(math.floor(math.log2(min(seen))), math.ceil(math.log2(max(seen))) + 1)
    axis.set_yscale("log", base=2)
    axis.set_yticks([2.0**power for power in powers], [f"{2.0**power:g}" for power in powers])
    axis.set_ylim(0.94 * 2.0 ** powers[0], 1.06 * 2.0 ** powers[-1])
    axis.minorticks_off()


def _ideal(rows: Sequence[Row]) -> dict[int, float]:
    """Throughput at an efficiency of 100 %, of the system for which that is most, by workers."""
    ideal: dict[int, float] = {}
    for row in rows:
        if row["coupled"] and row["efficiency"]:
            rate = row["examples_per_second"] / row["efficiency"]
            ideal[row["workers"]] = max(rate, ideal.get(row["workers"], 0.0))
    return dict(sorted(ideal.items()))


def _range_of_rate(row: Row) -> tuple[float, float]:
    examples = row["examples_per_second"] * row["step_seconds_median"]
    return examples / max(row["step_seconds"]), examples / min(row["step_seconds"])


def _efficiency(
    axis: Foreign,
    rows: Sequence[Row],
    styles: Mapping[str, Any],
    least: float,
) -> None:
    axis.axhline(100, **_IDEAL, zorder=1)
    compared = [row for row in rows if row["efficiency"] is not None]
    middle = (len(styles) - 1) / 2
    for system, own in _by_system(compared, styles):
        shift = 2.0 ** (_APART * (list(styles).index(system) - middle))
        # One worker is what the others are compared with: nothing to tell apart.
        xs = [row["workers"] * (shift if row["workers"] > 1 else 1.0) for row in own]
        percents = [100 * row["efficiency"] for row in own]
        ranges = [(100 * row["efficiency_low"], 100 * row["efficiency_high"]) for row in own]
        _points(axis, xs, percents, ranges, styles[system])
    if not compared:
        text = "not measured with one worker"
        axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", color=_GREY)
    _over_workers(axis, rows, "scaling efficiency, %")
    most = max([100.0, *(100 * row["efficiency_high"] for row in compared)])
    axis.set_ylim(least, most + 0.06 * (most - least))
    axis.yaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))


def _least_percent(rows: Sequence[Row]) -> float:
    """Where every efficiency axis starts: a round number below all, the same for all to compare."""
    lows = [100 * row["efficiency_low"] for row in rows if row["efficiency_low"] is not None]
    return max(0.0, 10.0 * math.floor((min(lows, default=0.0) - 5) / 10))


def _by_system(rows: Sequence[Row], styles: Mapping[str, Any]) -> list[tuple[str, list[Row]]]:
    """Each system's rows by number of workers; those that were coupled."""
    ordered = sorted((row for row in rows if row["coupled"]), key=lambda row: row["workers"])
    groups = [(name, [row for row in ordered if row["system"] == name]) for name in styles]
    return [(name, own) for name, own in groups if own]


def _points(
    axis: Foreign,
    xs: Sequence[float],
    ys: Sequence[float],
    ranges: Sequence[tuple[float, float]],
    style: Mapping[str, Any],
) -> None:
    # Never below 0, which rounding would give where all blocks are alike.
    below = [max(0.0, y - low) for y, (low, _) in zip(ys, ranges, strict=True)]
    above = [max(0.0, high - y) for y, (_, high) in zip(ys, ranges, strict=True)]
    axis.errorbar(xs, ys, [below, above], capsize=3, elinewidth=1.2, **_LINE, **style)


def _over_workers(axis: Foreign, rows: Sequence[Row], label: str) -> None:
    workers = sorted({row["workers"] for row in rows if row["coupled"]})
    axis.set_xscale("log", base=2)
    axis.set_xlim(workers[0] / 1.25, workers[-1] * 1.25)
    axis.set_xticks(workers, [str(count) for count in workers])
    axis.minorticks_off()
    axis.set_xlabel("workers")
    axis.set_ylabel(label)
    _plain(axis)
    axis.grid(axis="y", color="#E4E4E4", linewidth=0.8)
    axis.set_axisbelow(True)


def draw_timeline(spans: Sequence[Span], title: str, path: Path) -> None:
    """One step of each worker: what ran when, and what of the communication was exposed."""
    workers = sorted({span.worker for span in spans})
    by_worker = {worker: [span for span in spans if span.worker == worker] for worker in workers}
    heights = [sum(_rows_of(own).values()) + 1.2 for own in by_worker.values()]
    figure = _figure(12, 1.1 + 0.36 * sum(heights))
    axes = figure.subplots(len(workers), 1, sharex=True, squeeze=False, height_ratios=heights)
    start, end = min(span.start for span in spans), max(span.end for span in spans)
    for axis, (worker, own) in zip(axes[:, 0], by_worker.items(), strict=True):
        axis.set_xlim(0, 1010 * (end - start))
        _strip(axis, own, start)
        axis.set_title(f"worker {worker}", loc="left", fontsize=10, color=_INK, fontweight="bold")
    axes[-1, 0].set_xlabel("milliseconds")
    figure.suptitle(title, fontsize=12, color=_INK)
    _save(figure, path)


def _rows_of(spans: Sequence[Span]) -> dict[str, int]:
    """How many rows each lane of a worker needs."""
    lanes = [(lane, [span for span in spans if span.lane == lane]) for lane in LANES]
    return {lane: max(row for row, _ in side_by_side(own)) + 1 for lane, own in lanes if own}


def _strip(axis: Foreign, spans: Sequence[Span], origin: float) -> None:
    """The lanes of one worker, from top to bottom."""
    top, ticks = 0, {}
    for lane, count in _rows_of(spans).items():
        ticks[lane] = top + (count - 1) / 2
        own = [span for span in spans if span.lane == lane]
        # The one name among many that happens to fit would look as if it meant something.
        is_named = 2 * sum(_fits(axis, span) for span in own) >= len(own)
        for row, span in side_by_side(own):
            _bar(axis, span, top + row, origin, is_named=is_named)
        top += count
    _bracket(axis, spans, top, origin)
    axis.set_ylim(top + 0.75, -0.6)
    axis.set_yticks(list(ticks.values()), list(ticks))
    axis.tick_params(axis="y", length=0)
    _plain(axis)
    axis.spines["left"].set_visible(False)


def _fits(axis: Foreign, span: Span) -> bool:
    """Whether the name has room; some 130 letters fit across the picture."""
    letters = 130 * 1000 * (span.end - span.start) / axis.get_xlim()[1]
    return bool(len(span.name) + 0.5 <= letters)


def _bar(axis: Foreign, span: Span, row: int, origin: float, *, is_named: bool) -> None:
    left, width = 1000 * (span.start - origin), 1000 * (span.end - span.start)
    colour = _LANE_COLOURS[span.lane]
    # Between many layers there is no room for gaps: they would hide the layers.
    gap = 0.7 if width > 0.004 * axis.get_xlim()[1] else 0.0
    axis.barh(row, width, 0.82, left, color=colour, edgecolor="white", linewidth=gap)
    if is_named and _fits(axis, span):
        ink = "white" if span.lane == "backward" else "black"
        style = {"ha": "center", "va": "center", "fontsize": 7.5, "color": ink}
        axis.text(left + width / 2, row, span.name, **style)


def _bracket(axis: Foreign, spans: Sequence[Span], bottom: float, origin: float) -> None:
    """Shows under the lanes how long communication goes on after backward."""
    begin, end = exposed_of(spans)
    step = max(span.end for span in spans) - min(span.start for span in spans)
    left, right = 1000 * (begin - origin), 1000 * (end - origin)
    if right > left:
        axis.axvspan(left, right, color=_EXPOSED, alpha=0.13, linewidth=0, zorder=0)
        for x in (left, right):
            axis.axvline(x, color=_EXPOSED, linewidth=0.8, linestyle=":", zorder=0)
        corners = [left, left, right, right], [bottom - 0.15, bottom, bottom, bottom - 0.15]
        axis.plot(*corners, color=_EXPOSED, linewidth=2.0)
    share = 100 * (end - begin) / step if step > 0 else 0.0
    text = f"exposed communication {right - left:.1f} ms, {share:.1f} % of the step"
    # Towards the middle, where there is always room.
    is_late = left > 0.5 * axis.get_xlim()[1]
    axis.text(
        (left if is_late else right),
        bottom + 0.2,
        f"{text}  " if is_late else f"  {text}",
        ha="right" if is_late else "left",
        va="center",
        fontsize=9,
        color="#A84300",
    )


def _figure(width: float, height: float) -> Foreign:
    figure: Any = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)
    FigureCanvasAgg(figure)
    return figure


def _plain(axis: Foreign) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(_GREY)
    axis.tick_params(colors=_INK, labelsize=9)


def _save(figure: Foreign, path: Path) -> None:
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, dpi=_DPI, format="png")
