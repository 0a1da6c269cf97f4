"""Parts of a collection: the same records on every machine, read only when they are asked for."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.data.formats.reading import read_all
from tests.jobs.workers import ROOT
from tfscale.data.formats import held, tfrecord
from tfscale.errors import ConfigError

SIZE = 10


def _held():
    names = held.texts(f"{number}.png" for number in range(SIZE))
    leaves = {"number": np.arange(SIZE), "name": names}
    return held.collection("mine", leaves, lambda number: f"row {number}")


def _numbers(collection):
    return [int(record["number"]) for record in read_all(collection)]


@pytest.mark.parametrize("count", [-1, 0, 3, SIZE, 99])
def test_take_and_skip_are_those_of_a_dataset(count):
    data = tf.data.Dataset.range(SIZE)
    made = _held()
    for part, expected in (
        (made.take(count), data.take(count)),
        (made.skip(count), data.skip(count)),
    ):
        assert _numbers(part) == list(expected.as_numpy_iterator())
        assert part.num_records == len(expected)


def test_a_part_of_a_part_says_where_its_records_are():
    part = _held().skip(2).take(5).skip(1)
    assert _numbers(part) == [3, 4, 5, 6]
    assert part.place_of(1) == "row 4"


def test_parts_have_checksums_of_their_own():
    made = _held()
    parts = [made, made.take(5), made.skip(5), made.take(4), *made.split(0.5), *made.split(0.3)]
    assert len({part.checksum for part in parts}) == len(parts)
    assert made.take(5).checksum == _held().take(5).checksum


def test_a_split_has_each_record_once_by_the_seed_alone():
    first, second = _held().split(0.3, seed=1)
    assert (first.num_records, second.num_records) == (7, 3)
    assert sorted(_numbers(first) + _numbers(second)) == list(range(SIZE))
    assert _numbers(first) == sorted(_numbers(first))
    assert _numbers(_held().split(0.3, seed=1)[1]) == _numbers(second)
    others = {tuple(_numbers(_held().split(0.3, seed=seed)[1])) for seed in range(5)}
    assert len(others) > 1


def test_another_process_splits_alike():
    program = (
        "from tests.data.test_collection import _held, _numbers; "
        "print(_numbers(_held().split(0.3, seed=1)[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split("\n")[-2] == str(_numbers(_held().split(0.3, seed=1)[1])), done.stderr


@pytest.mark.parametrize("fraction", [0, 1, -0.2, 1.5, 0.01, 0.99])
def test_a_split_that_leaves_a_part_empty_is_refused(fraction):
    with pytest.raises(ConfigError, match=f"^{fraction} of 10 records leave one part empty"):
        _held().split(fraction)


def test_a_filter_keeps_what_it_is_asked_for():
    odd = _held().filter(lambda record: record["number"] % 2 == 1)
    assert _numbers(odd) == [1, 3, 5, 7, 9]
    assert odd.place_of(0) == "row 1"
    named = odd.map(lambda record: record["name"]).filter(lambda name: name != b"5.png")
    assert [name.decode() for name in read_all(named)] == ["1.png", "3.png", "7.png", "9.png"]


def test_parts_of_files_are_read_where_they_lie(tmp_path):
    path = str(tmp_path / "a.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for number in range(SIZE):
            writer.write(b"%d" % number)
    made = tfrecord.records(path)
    assert [int(record) for record in read_all(made.skip(4).take(3))] == [4, 5, 6]
    even = made.filter(lambda record: tf.strings.to_number(record, tf.int32) % 2 == 0)
    assert [int(record) for record in read_all(even)] == [0, 2, 4, 6, 8]
    assert path in even.place_of(1)
