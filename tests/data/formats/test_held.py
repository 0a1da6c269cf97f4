import numpy as np
import pytest

from tests.data.formats.reading import read_all
from tfscale.data.formats import held
from tfscale.errors import ConfigError


def _leaves():
    rows = held.Rows(np.arange(6.0).reshape(3, 2), np.array([2, 0, 1]), size=3, fill=-1.0)
    return {
        "name": held.texts([b"a", b"", b"\xff\x00"]),
        "label": np.array([3, 1, 2], np.int64),
        "pair": (np.arange(12, dtype=np.uint8).reshape(3, 2, 2), rows),
    }


def test_records_come_by_their_numbers_in_any_order_and_more_than_once():
    records = read_all(held.collection("some", _leaves()), order=[2, 0, 2])
    assert [record["name"] for record in records] == [b"\xff\x00", b"a", b"\xff\x00"]
    assert [record["label"] for record in records] == [2, 3, 2]
    assert records[1]["pair"][0].tolist() == [[0, 1], [2, 3]]


def test_rows_are_filled_up_to_one_size():
    records = read_all(held.collection("some", _leaves()))
    fill = [-1.0, -1.0]
    rows = [record["pair"][1].tolist() for record in records]
    assert rows == [[[0, 1], [2, 3], fill], [fill] * 3, [[4, 5], fill, fill]]


def test_rows_may_be_flags_and_there_may_be_none_of_them():
    none = held.Rows(np.zeros([0], bool), np.zeros([2], np.int64), size=2, fill=False)
    records = read_all(held.collection("some", none))
    assert [record.tolist() for record in records] == [[False, False]] * 2


def test_what_is_held_says_that_it_is_in_memory():
    collection = held.collection("some", _leaves(), lambda number: f"line {number}")
    assert collection.is_held and collection.num_records == 3
    assert collection.place_of(2) == "line 2"


@pytest.mark.parametrize("key", ["name", "label", "pair"])
def test_the_checksum_is_of_everything_that_is_held(key):
    same, other = held.collection("a", _leaves()), held.collection("b", _leaves())
    assert same.checksum == other.checksum
    changed = _leaves()
    changed["name"][1] = b"c" if key == "name" else b""
    changed["label"] = changed["label"][::-1].copy() if key == "label" else changed["label"]
    if key == "pair":
        changed["pair"][1].values[0] = 9.0
    assert held.collection("a", changed).checksum != same.checksum


def test_the_checksum_tells_texts_from_the_same_texts_cut_elsewhere():
    one, other = held.texts([b"ab", b"c"]), held.texts([b"a", b"bc"])
    assert held.collection("a", one).checksum != held.collection("a", other).checksum


def test_names_become_paths_below_a_folder_without_another_checksum():
    names = held.collection("some", {"path": held.texts(["a/1.png", "b/2.png"])})
    here, there = held.below(names, "path", "/data/x"), held.below(names, "path", "/mnt/y/")
    assert [record["path"] for record in read_all(here)] == [b"/data/x/a/1.png", b"/data/x/b/2.png"]
    assert read_all(there)[0]["path"] == b"/mnt/y/a/1.png"
    assert here.checksum == there.checksum == names.checksum


@pytest.mark.parametrize("leaves", [{"a": np.arange(2), "b": np.arange(3)}, {"a": np.arange(0)}])
def test_parts_of_other_lengths_and_no_records_are_refused(leaves):
    with pytest.raises(ConfigError, match="^some has parts of .* at least one"):
        held.collection("some", leaves)
