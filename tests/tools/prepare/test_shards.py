import pytest
import tensorflow as tf

from tfscale.data.formats import tfrecord
from tfscale.errors import ConfigError
from tools.prepare import shards as module
from tools.prepare.shards import Assignment, Range, part_of, said_of, write_shards, write_share
from tools.prepare.split_records import Asked

SOURCE = """
import tensorflow as tf
def load(split):
    return tf.data.Dataset.range(2500).filter(lambda n: True).map(tf.strings.as_string)
"""


@pytest.fixture
def asked(tmp_path):
    (tmp_path / "mine.py").write_text(SOURCE)
    return Asked(str(tmp_path / "mine.py"), "train")


def _read(path):
    records = tfrecord.records(path)
    numbers = tf.range(records.num_records, dtype=tf.int64)
    return [int(text) for text in records.read(numbers).numpy()]


def test_shards_with_and_without_a_gap_hold_their_own_records(tmp_path, asked):
    bounds = [(0, 3), (3, 5), (2000, 2001)]
    ranges = [Range(tmp_path / str(first), first, last) for first, last in bounds]
    told = []
    write_share(Assignment(asked, "tfrecord", ranges), told.append)
    for each in ranges:
        assert _read(each.path) == list(range(each.first, each.last))
        assert said_of(each.path).records == each.last - each.first
    assert told == [3, 2, 1]


def test_progress_of_a_long_shard_is_told_meanwhile(tmp_path, asked):
    told = []
    write_share(Assignment(asked, "tfrecord", [Range(tmp_path / "all", 0, 2500)]), told.append)
    assert told == [1000, 1000, 500]


def test_a_split_that_ends_too_soon_leaves_no_shard(tmp_path, asked):
    path = tmp_path / "last"
    with pytest.raises(ConfigError, match="ended after 2,500 records; expected at least 2,510"):
        write_share(Assignment(asked, "tfrecord", [Range(path, 2490, 2510)]), lambda more: None)
    assert not path.exists()
    assert said_of(path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"records": 3}'])
def test_what_a_shard_holds_is_unsaid_where_that_was_cut_off(tmp_path, text):
    part_of(tmp_path / "a").write_text(text)
    assert said_of(tmp_path / "a") is None


@pytest.mark.parametrize(
    ("processes", "expected"),
    [(1, [[0, 1, 2, 3, 4]]), (2, [[0, 1], [2, 3, 4]]), (9, [[0], [1], [2], [3], [4]])],
)
def test_each_process_gets_shards_that_follow_each_other(monkeypatch, asked, processes, expected):
    given = []
    monkeypatch.setattr(module, "spread", lambda work, shares, tell: given.extend(shares))
    ranges = [Range(None, number, number + 1) for number in range(5)]
    write_shards(Assignment(asked, "tfrecord", ranges), processes, lambda more: None)
    assert [[each.first for each in share.ranges] for share in given] == expected


def test_no_shard_takes_no_process(monkeypatch, asked):
    given = []
    monkeypatch.setattr(module, "spread", lambda work, shares, tell: given.extend(shares))
    write_shards(Assignment(asked, "tfrecord", []), 2, lambda more: None)
    assert given == []
