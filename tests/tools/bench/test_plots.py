import numpy as np
import pytest

pytest.importorskip("matplotlib")  # is there for benchmarks and tests, not for training

from PIL import Image

from tools.bench import plots, results
from tools.bench.groups import Cell
from tools.bench.sweep import Measured
from tools.bench.task import Variant
from tools.bench.timeline import Moments, spans_of_step

SYSTEMS = (
    "tfscale",
    "tfscale:wire_dtype=float16",
    "tfscale:wire_dtype=bfloat16:bucket_mb=8",
    "stock",
    "ddp",
    "bare",
)


def _rows(systems=SYSTEMS[:2], workers=(1, 2, 4), links=(0.0,), *, uncoupled=False, blocks=3):
    """Each system is slower than the one before, and all the more the more workers there are."""
    rows = []
    for mbps in links:
        measured = []
        for number, name in enumerate(systems):
            for count in workers:
                seconds = 0.4 + 0.05 * (1 + number) * (count - 1)
                times = [seconds * (1 + 0.02 * block) for block in range(blocks)]
                cell = Cell(Variant.parse(name), count, True, mbps)
                measured.append(Measured(cell, 10, times, 10**9))
                if uncoupled and count > 1:
                    cell = Cell(Variant.parse(name), count, False, mbps)
                    measured.append(Measured(cell, 10, [0.4] * blocks, 10**9))
        rows += results.rows_of(measured, "resnet-50", 128)
    return rows


def _spans(workers=2, layers=4, buckets=2, reduce_seconds=0.3):
    spans = []
    for worker in range(workers):
        backward = [1.0 + 0.2 * (layers - number) for number in range(layers)]
        ready = sorted(backward)[layers - buckets :]
        done = [time + reduce_seconds for time in ready]
        names = [f"layer_{number}" for number in range(layers)]
        forward = [1.0 * (number + 1) / layers for number in range(layers)]
        end = max([*done, backward[0]]) + 0.1
        moments = Moments(
            start=0.0, forward=forward, backward=backward, ready=ready, done=done, end=end
        )
        spans += spans_of_step(worker, names, moments)
    return spans


def _drawn(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def _has(pixels, colour):
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return bool((pixels == wanted).all(-1).any())


@pytest.mark.parametrize("count", range(1, len(SYSTEMS) + 1))
def test_every_system_has_a_colour_of_its_own(tmp_path, count):
    plots.draw_scaling(_rows(SYSTEMS[:count]), tmp_path / "scaling.png")
    pixels = _drawn(tmp_path / "scaling.png")
    seen = [_has(pixels, colour) for colour in plots._COLOURS]
    assert seen == [True] * count + [False] * (len(SYSTEMS) - count)


def test_more_systems_than_colours_are_drawn_too(tmp_path):
    names = [f"tfscale:bucket_mb={number}" for number in range(1, 9)]
    plots.draw_scaling(_rows(names), tmp_path / "scaling.png")
    assert _has(_drawn(tmp_path / "scaling.png"), plots._COLOURS[-1])


def test_each_link_adds_a_row_of_panels(tmp_path):
    heights = []
    for links in ((0.0,), (0.0, 1000.0), (0.0, 1000.0, 100.0)):
        plots.draw_scaling(_rows(links=links), tmp_path / "scaling.png")
        heights.append(_drawn(tmp_path / "scaling.png").shape[0])
    assert heights[2] - heights[1] == pytest.approx(heights[1] - heights[0], abs=2)
    assert heights[1] > 1.5 * heights[0]


@pytest.mark.parametrize(
    "rows",
    [
        _rows(workers=(1,)),
        _rows(SYSTEMS[:1], workers=(1,), blocks=1),
        _rows(workers=(2, 4)),
        _rows(uncoupled=True),
        _rows(workers=(2,), uncoupled=True),
        _rows(SYSTEMS[:1], links=(0.0,)) + _rows(SYSTEMS[1:2], workers=(2,), links=(10.0,)),
        [row for row in _rows() if (row["system"], row["workers"]) != ("tfscale", 2)],
        _rows(workers=(3, 1000)),
    ],
    ids=[
        "one worker",
        "one point",
        "no efficiency",
        "uncoupled",
        "uncoupled alone",
        "another system on each link",
        "a hole",
        "odd sizes",
    ],
)
def test_whatever_was_measured_can_be_drawn(tmp_path, rows):
    plots.draw_scaling(rows, tmp_path / "scaling.png")
    assert _has(_drawn(tmp_path / "scaling.png"), plots._COLOURS[0])
    assert [path.name for path in tmp_path.iterdir()] == ["scaling.png"]


def test_ideal_is_what_the_fastest_would_give_without_a_loss():
    rows = _rows(workers=(1, 2, 4))
    assert plots._ideal(rows) == pytest.approx({1: 128 / 0.408, 2: 256 / 0.408, 4: 512 / 0.408})


def test_ideal_of_shared_cores_is_what_workers_alone_give():
    rows = _rows(workers=(2,), uncoupled=True)
    assert plots._ideal(rows) == pytest.approx({2: 256 / 0.4})


def test_without_anything_to_compare_with_there_is_no_ideal():
    assert plots._ideal(_rows(workers=(2, 4))) == {}


def test_the_range_of_a_rate_is_that_of_its_blocks():
    (row,) = _rows(SYSTEMS[:1], workers=(1,))
    assert plots._range_of_rate(row) == pytest.approx((128 / 0.416, 128 / 0.4))


@pytest.mark.parametrize(
    ("low", "least"), [(0.99, 90.0), (0.96, 90.0), (0.94, 80.0), (0.5, 40.0), (0.02, 0.0)]
)
def test_the_axis_of_efficiency_starts_at_a_round_number_below_all(low, least):
    assert plots._least_percent([{"efficiency_low": None}, {"efficiency_low": low}]) == least


def test_without_efficiency_its_axis_starts_at_zero():
    assert plots._least_percent([{"efficiency_low": None}]) == 0.0


def test_a_timeline_shows_every_lane_and_what_is_exposed(tmp_path):
    plots.draw_timeline(_spans(), "One step", tmp_path / "timeline.png")
    pixels = _drawn(tmp_path / "timeline.png")
    assert all(_has(pixels, colour) for colour in plots._LANE_COLOURS.values())
    assert _has(pixels, plots._EXPOSED)
    assert [path.name for path in tmp_path.iterdir()] == ["timeline.png"]


def test_nothing_is_marked_where_nothing_is_exposed(tmp_path):
    plots.draw_timeline(_spans(1, buckets=0), "One step", tmp_path / "timeline.png")
    pixels = _drawn(tmp_path / "timeline.png")
    assert not _has(pixels, plots._EXPOSED)
    assert not _has(pixels, plots._LANE_COLOURS["all-reduce"])


@pytest.mark.parametrize(
    "spans",
    [_spans(1, layers=1, buckets=1), _spans(4, layers=3), _spans(1, layers=200, buckets=50)],
    ids=["small", "four workers", "many layers"],
)
def test_whatever_a_step_has_can_be_drawn(tmp_path, spans):
    plots.draw_timeline(spans, "One step", tmp_path / "timeline.png")
    assert _has(_drawn(tmp_path / "timeline.png"), plots._LANE_COLOURS["forward"])


def test_buckets_that_overlap_make_their_lane_taller():
    assert plots._rows_of(_spans(1, buckets=4, reduce_seconds=0.1))["all-reduce"] == 1
    assert plots._rows_of(_spans(1, buckets=4, reduce_seconds=0.5))["all-reduce"] == 3
