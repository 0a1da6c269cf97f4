"""What a worker reads of files, and how much memory it needs for it, as the system counts both."""

import json
import os
import shutil
import sys

import numpy as np
import pytest

from tests.jobs.reader import EPOCHS
from tests.jobs.workers import start_all
from tfscale.data.formats import record_index
from tools.prepare import shard_writers

pytestmark = [pytest.mark.long, pytest.mark.promise("reading")]

RECORDS, RECORD_BYTES = 512, 50_000
FORMATS = ("tfrecord", "array_record", "image_folder")
GIB = 2**30


def _records(count, size):
    random = np.random.default_rng(0)
    return [random.bytes(size) for _ in range(count)]


def _read(*words):
    """What processes that read print, each a line of JSON; they run at the same time."""
    commands = [[sys.executable, "-m", "tests.jobs.reader", *map(str, each)] for each in words]
    ended = start_all(commands, deadline_seconds=100)
    for worker in ended:
        assert worker.code == 0, worker.err[-2000:]
    return [json.loads(worker.out) for worker in ended]


@pytest.fixture(scope="module")
def bytes_of_workers(tmp_path_factory):
    """What each of two workers read of each format, as shares of all that they had to read."""
    folder = tmp_path_factory.mktemp("shares")
    records = _records(RECORDS, RECORD_BYTES)
    shard_writers.write_tfrecord(folder / "a.tfrecord", iter(records))
    shard_writers.write_array_record(folder / "a.array_record", iter(records))
    for number, record in enumerate(records):
        path = folder / "images" / f"class {number % 4}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(record)
    total = EPOCHS * RECORDS * RECORD_BYTES
    found = _read(*[("shares", folder, worker) for worker in (0, 1)])
    shutil.rmtree(folder)
    return {name: [worker[name] / total for worker in found] for name in FORMATS}


@pytest.mark.parametrize("name", FORMATS)
def test_two_workers_read_half_of_the_bytes_each(bytes_of_workers, name):
    # And a little that lies ready when it is counted, and the index.
    for share in bytes_of_workers[name]:
        assert 0.5 <= share < 0.54, bytes_of_workers


def _many(folder, name, count):
    """The names of a file that is there `count` times, each a name of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    first, ending = folder / f"0{name}", name
    for number in range(1, count):
        os.link(first, folder / f"{number}{ending}")


@pytest.fixture
def large(tmp_path):
    """Data sets of 20 GB, of few files with many names: three of bytes, and one of many lines."""
    records = _records(400, 250_000)  # 100 MB
    for name, write in (
        ("tfrecord", shard_writers.write_tfrecord),
        ("array_record", shard_writers.write_array_record),
    ):
        folder = tmp_path / name
        folder.mkdir()
        write(folder / f"0.{name}", iter(records))
        _many(folder, f".{name}", 200)
    _many(tmp_path / "tfrecord", f".tfrecord{record_index.INDEX_SUFFIX}", 200)
    for label in range(4):  # a file may have 65,000 names
        folder = tmp_path / "image_folder" / "images" / str(label)
        folder.mkdir(parents=True)
        (folder / "0.jpg").write_bytes(records[label] + records[label])
        _many(folder, ".jpg", 10_000)
    folder = tmp_path / "text_lines"
    folder.mkdir()
    # Lines of 2 kB would be 20 GB: what is kept of a line doesn't depend on how long it is.
    (folder / "0.txt").write_bytes(b"a\n" * 1_000_000)
    _many(folder, ".txt", 10)
    yield tmp_path
    shutil.rmtree(tmp_path)


def test_a_data_set_of_20_gb_needs_less_than_a_gibibyte_whatever_its_format(large):
    for name in FORMATS:
        paths = [path for path in (large / name).rglob("*.*") if path.suffix != ".idx"]
        assert sum(path.stat().st_size for path in paths) >= 20e9
    (peaks,) = _read(("memory", large))
    before = peaks.pop("before")
    assert list(peaks) == [*FORMATS, "text_lines"]
    # One after the other in one process: what an earlier one keeps is in the later ones' peak.
    for name, peak in peaks.items():
        assert peak - before < GIB, f"{name}: {(peak - before) / GIB:.2f} GiB"
