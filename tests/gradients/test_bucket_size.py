import json
from types import SimpleNamespace

import pytest

from tfscale.cluster.cluster import Cluster
from tfscale.gradients import bucket_size
from tfscale.gradients.bucket_size import BucketSize, LinkTimes, best, choose, wire_share
from tfscale.gradients.wires import make_wire
from tfscale.settings import Config
from tfscale.startup.devices import Devices

MEBIBYTE = 2**20
CONDITIONS = {
    "workers": 2,
    "devices": ["CPU", 1],
    "collectives": "ring",
    "wire_dtype": "float32",
    "compress": "none",
}


def _link(latency, bytes_per_second):
    return LinkTimes(latency, latency + 4 * MEBIBYTE / bytes_per_second)


@pytest.mark.parametrize(
    ("latency", "bytes_per_second", "gradient_bytes", "wire_share", "size"),
    [
        # sqrt(100 MB x 1 ms x 400 MB/s) = 6.32 MB, and the next smaller size.
        (1e-3, 400e6, 100_000_000, 1.0, 6 * MEBIBYTE),
        # A quarter as much on the wire: twice as many gradients in a bucket.
        (1e-3, 400e6, 100_000_000, 0.25, 12 * MEBIBYTE),
        # A DGX: sqrt(100 MB x 50 us x 120 GB/s) = 24.5 MB.
        (50e-6, 120e9, 100_000_000, 1.0, 16 * MEBIBYTE),
        (1e-3, 400e6, 1000, 1.0, MEBIBYTE // 2),
        (1.0, 1e12, 10**10, 1.0, 64 * MEBIBYTE),
    ],
)
def test_the_bucket_exposes_least(latency, bytes_per_second, gradient_bytes, wire_share, size):
    link = _link(latency, bytes_per_second)
    assert best(link, gradient_bytes, wire_share=wire_share) == size


def test_a_link_without_noise_gives_back_what_it_is():
    link = _link(2e-3, 1e9)
    assert (link.latency, link.bytes_per_second) == pytest.approx((2e-3, 1e9))


def test_a_clock_too_coarse_for_the_link_is_no_division_by_zero():
    assert best(LinkTimes(1e-3, 1e-3), 10**8) > 0


@pytest.fixture
def board():
    return SimpleNamespace(broadcast=lambda topic, text: text)


@pytest.fixture
def strategy(monkeypatch):
    monkeypatch.setattr(bucket_size, "measure", lambda strategy: _link(1e-3, 400e6))
    return SimpleNamespace(num_replicas_in_sync=2)


def _choose(run_dir, board, strategy, gradient_bytes=100_000_000, **settings):
    config = Config(run_dir=str(run_dir), **settings)
    job = SimpleNamespace(
        config=config,
        cluster=Cluster(("a:1", "b:1")),
        devices=Devices("CPU", 1, ("CPU",)),
        collectives="ring",
        board=board,
        strategy=strategy,
    )
    wire = make_wire(config.wire_dtype, config.compress, 2)
    return choose(job, wire, gradient_bytes)


def test_the_flag_decides(tmp_path, board, strategy):
    assert _choose(tmp_path, board, strategy, bucket_mb=2) == BucketSize(2 * MEBIBYTE, "given")


def test_one_replica_measures_nothing(tmp_path, board):
    alone = SimpleNamespace(num_replicas_in_sync=1)
    assert _choose(tmp_path, board, alone).size_bytes == 0


def test_gradients_of_one_bucket_need_no_measurement(tmp_path, board, strategy, monkeypatch):
    monkeypatch.setattr(bucket_size, "measure", None)
    most = MEBIBYTE // 2
    assert _choose(tmp_path, board, strategy, most) == BucketSize(most, "they all fit")
    with pytest.raises(TypeError):
        _choose(tmp_path, board, strategy, most + 1)


def test_without_an_earlier_run_the_links_are_measured(tmp_path, board, strategy):
    chosen = _choose(tmp_path, board, strategy)
    assert (chosen.size_bytes, chosen.source) == (6 * MEBIBYTE, "measured")
    assert chosen.conditions == CONDITIONS


def _write(run_dir, content):
    (run_dir / "config.json").write_text(content)


def test_an_earlier_run_under_the_same_conditions_is_followed(tmp_path, board, strategy):
    buckets = {"size_bytes": 12345, "conditions": CONDITIONS}
    _write(tmp_path, json.dumps({"buckets": buckets}))
    chosen = _choose(tmp_path, board, strategy)
    assert (chosen.size_bytes, chosen.source) == (12345, "remembered")


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"buckets": {"size_bytes": 12345, "conditions": {"workers": 3}}}),
        json.dumps({"buckets": {}}),
        json.dumps({}),
        json.dumps([]),
        "half of a fi",
    ],
)
def test_another_run_or_a_broken_file_is_not_followed(tmp_path, board, strategy, content):
    _write(tmp_path, content)
    assert _choose(tmp_path, board, strategy).source == "measured"


@pytest.mark.parametrize(
    ("wire_dtype", "compress", "replicas", "share"),
    [
        ("float32", "none", 2, 1.0),
        ("bfloat16", "none", 2, 0.5),
        ("float16", "none", 8, 0.5),
        ("float32", "int8", 2, 0.25),
        # A twentieth of the elements, each with its place, to every other replica: not in a ring.
        ("float32", "topk", 2, 0.1),
        ("float32", "topk", 8, 0.4),
    ],
)
def test_a_wire_is_asked_what_it_sends(wire_dtype, compress, replicas, share):
    wire = make_wire(wire_dtype, compress, replicas)
    assert wire_share(wire, 100_000_000, replicas) == pytest.approx(share, rel=1e-5)


def test_fewer_bytes_are_sent_in_larger_buckets(tmp_path, board, strategy):
    whole = _choose(tmp_path, board, strategy).size_bytes
    assert _choose(tmp_path, board, strategy, compress="int8").size_bytes > whole


@pytest.mark.parametrize(
    ("noise", "factors"), [(0.7, (0.75, 1)), (0.9, (1,)), (1.1, (1, 1.5)), (1.4, (1.5, 2))]
)
def test_what_clocks_differ_by_from_run_to_run_changes_little(noise, factors):
    measured = _link(2e-3, 180e6)  # sqrt(100 MB x 2 ms x 180 MB/s) = 6 MB
    noisy = LinkTimes(noise * measured.small_seconds, measured.large_seconds / noise)
    assert best(noisy, 100_000_000) / best(measured, 100_000_000) in factors
