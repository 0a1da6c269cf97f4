import json

import pytest

from tfscale.errors import ConfigError
from tools.profiles.link_curve import Group, LinkCurve, Point, link_curves_text, load_link_curves

PAIR = Group((0, 1), ("a", "b"), 4, "nccl", "bfloat16", 1.25e9)
CURVE = LinkCurve(PAIR, (Point(1024, 0.001, 1e6), Point(4096, 0.002, 2e6), Point(2**20, 0.1, 1e7)))
ALL = LinkCurve(Group((0, 1, 2), ("a", "b", "c"), 6, "nccl", "float32"), (Point(1024, 0.01, 2e5),))


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "links.json"
    path.write_text(link_curves_text((CURVE, ALL)))
    assert load_link_curves(path) == (CURVE, ALL)
    assert json.loads(path.read_text())[0] == {
        "workers": 2,
        "ranks": [0, 1],
        "nodes": ["a", "b"],
        "replicas": 4,
        "collectives": "nccl",
        "wire_dtype": "bfloat16",
        "bytes": 1024,
        "seconds_median": 0.001,
        "bus_bytes_per_second": 1e6,
        "promised_bytes_per_second": 1.25e9,
    }


def test_latency_and_bandwidth_are_read_off():
    assert (CURVE.latency_seconds, CURVE.bus_bytes_per_second) == (0.001, 1e7)


@pytest.mark.parametrize(
    ("size", "seconds"),
    [(1, 0.001), (1024, 0.001), (2560, 0.0015), (4096, 0.002), (2**20, 0.1), (2**21, 0.2)],
)
def test_times_of_other_sizes_lie_between(size, seconds):
    assert CURVE.seconds_of(size) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "[1]", '[{"ranks": [0]}]', None])
def test_another_file_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "links.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match="has no curves of links .* launch/doctor.py writes"):
        load_link_curves(path)
