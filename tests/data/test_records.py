from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tfscale.data import records
from tfscale.data.dataset_file import read_dataset_file
from tfscale.data.records import enumerate_records, read_records
from tfscale.errors import ConfigError


def _file(load=lambda split: tf.data.Dataset.range(3), **attributes):
    return read_dataset_file(SimpleNamespace(__name__="mine", load=load, **attributes))


def _int64(*values):
    return tf.constant(values[0] if len(values) == 1 else values, tf.int64)


def _equal(found, expected):
    tf.nest.assert_same_structure(found, expected)
    for ours, theirs in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def _of_different_shapes():
    lengths = [3, 0, 5, 1]

    def generate():
        for number, length in enumerate(lengths):
            words = [f"word {number} {k}" for k in range(length)]
            yield {
                "pixels": np.full((length, 2), number, np.uint8),
                "words": words,
                "label": number,
            }

    return tf.data.Dataset.from_generator(
        generate,
        output_signature={
            "pixels": tf.TensorSpec([None, 2], tf.uint8),
            "words": tf.TensorSpec([None], tf.string),
            "label": tf.TensorSpec([], tf.int64),
        },
    ).apply(tf.data.experimental.assert_cardinality(len(lengths)))


# Reading.


@pytest.mark.parametrize(
    "dataset",
    [
        tf.data.Dataset.range(5),
        tf.data.Dataset.from_tensor_slices(["a", "", "c"]),
        tf.data.Dataset.from_tensor_slices((np.eye(4, dtype=np.float16), [True, False] * 2)),
        tf.data.Dataset.from_tensor_slices({"x": np.zeros((3, 2, 2)), "y": {"name": ["a"] * 3}}),
    ],
)
def test_every_record_of_a_known_number_is_had_by_its_index(dataset):
    found = enumerate_records("mine", dataset)
    assert found.is_enumerable
    assert found.has_fixed_shapes
    assert found.num_records == int(dataset.cardinality())
    for index, record in enumerate(dataset):
        _equal(found.at(_int64(index)), record)


def test_several_records_of_one_shape_are_had_at_once():
    dataset = tf.data.Dataset.from_tensor_slices((np.arange(12).reshape(6, 2), list("abcdef")))
    numbers, letters = enumerate_records("mine", dataset).at(_int64(4, 0, 4))
    np.testing.assert_array_equal(numbers, [[8, 9], [0, 1], [8, 9]])
    assert list(letters.numpy()) == [b"e", b"a", b"e"]


def test_records_of_different_shapes_come_back_as_they_were():
    dataset = _of_different_shapes()
    found = enumerate_records("mine", dataset)
    assert found.is_enumerable
    assert not found.has_fixed_shapes
    for index, record in enumerate(dataset):
        _equal(found.at(_int64(index)), record)


def test_a_record_of_unknown_shape_keeps_what_is_known_of_it_within_a_dataset():
    found = enumerate_records("mine", _of_different_shapes())
    mapped = tf.data.Dataset.range(4).map(found.at)
    assert mapped.element_spec == found.stream.element_spec
    assert [len(record["words"]) for record in mapped] == [3, 0, 5, 1]


def test_more_records_than_are_read_ahead_keep_their_order(monkeypatch):
    monkeypatch.setattr(records, "_READ_AHEAD", 4)
    found = enumerate_records("mine", tf.data.Dataset.range(10, 21))
    np.testing.assert_array_equal(found.at(tf.range(11, dtype=tf.int64)), np.arange(10, 21))


def test_records_beyond_the_budget_stay_a_stream_of_known_length():
    dataset = tf.data.Dataset.from_tensor_slices(np.zeros((10, 100), np.float32))
    within = enumerate_records("mine", dataset, budget_bytes=4000)
    beyond = enumerate_records("mine", dataset, budget_bytes=3999)
    assert within.is_enumerable
    assert not beyond.is_enumerable
    assert beyond.num_records == 10
    assert not beyond.is_infinite


def test_texts_count_by_their_length():
    dataset = tf.data.Dataset.from_tensor_slices(["x" * 100] * 10)
    assert enumerate_records("mine", dataset, budget_bytes=1000).is_enumerable
    assert not enumerate_records("mine", dataset, budget_bytes=999).is_enumerable


def test_the_first_records_tell_that_all_are_too_many(monkeypatch):
    monkeypatch.setattr(records, "_READ_AHEAD", 4)
    made = []

    def record(number):
        made.append(int(number))
        return np.zeros(100, np.float32)

    dataset = tf.data.Dataset.range(1000).map(
        lambda number: tf.ensure_shape(tf.numpy_function(record, [number], tf.float32), [100])
    )
    assert not enumerate_records("mine", dataset, budget_bytes=100_000).is_enumerable
    assert len(made) < 100


@pytest.mark.parametrize(
    ("dataset", "is_infinite"),
    [
        (lambda: tf.data.Dataset.range(3).repeat(), True),
        (lambda: tf.data.Dataset.range(9).filter(lambda number: number > 2), False),
    ],
)
def test_records_that_cannot_be_counted_are_a_stream(dataset, is_infinite):
    found = enumerate_records("mine", dataset())
    assert (found.num_records, found.is_enumerable) == (None, False)
    assert found.is_infinite == is_infinite


def test_a_record_of_a_stream_has_no_index():
    found = enumerate_records("mine: load('train')", tf.data.Dataset.range(3).repeat())
    with pytest.raises(TypeError, match=r"mine: load\('train'\) is a stream"):
        found.at(_int64(0))


@pytest.mark.parametrize(
    "dataset",
    [
        lambda: tf.data.Dataset.from_tensor_slices(tf.sparse.from_dense([[1, 0], [0, 2]])),
        lambda: tf.data.Dataset.from_tensor_slices(tf.ragged.constant([[1], [2, 3]])),
    ],
)
def test_sparse_and_ragged_records_are_refused_with_what_to_do(dataset):
    with pytest.raises(ConfigError) as caught:
        enumerate_records("mine", dataset())
    assert "mine gives sparse or ragged records" in str(caught.value)
    assert "Make them dense" in str(caught.value)


def test_a_record_that_fails_is_told_in_one_line_with_its_split():
    def broken(split):
        return tf.data.Dataset.range(3).map(lambda number: tf.io.read_file("/no/file"))

    with pytest.raises(ConfigError) as caught:
        read_records(_file(broken), "train")
    assert "mine: load('train') failed while its records were read: " in str(caught.value)
    assert "/no/file" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_split_that_does_not_exist_has_no_records():
    assert read_records(_file(lambda split: None), "validation") is None


def test_records_carry_the_name_of_their_split():
    assert read_records(_file(), "train").name == "mine: load('train')"


# Examples.


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int64", "float16", "bfloat16", "float32", "complex64"]
)
def test_every_dtype_has_a_checksum_that_a_changed_record_changes(dtype):
    def checksum(numbers):
        records = tf.data.Dataset.from_tensor_slices(tf.cast(tf.constant(numbers), dtype))
        return enumerate_records("mine", records).checksum()

    assert checksum([0, 1, 0, 1]) == checksum([0, 1, 0, 1])
    assert checksum([0, 1, 0, 1]) != checksum([0, 1, 1, 0])


def test_slices_are_taken_as_they_were_given_and_not_read():
    records = tf.data.Dataset.from_tensor_slices((np.arange(6).reshape(3, 2), list("abc")))
    read = records.map(lambda numbers, letter: (numbers, letter))
    taken, as_read = enumerate_records("mine", records), enumerate_records("mine", read)
    assert taken.checksum() == as_read.checksum()
    for ours, theirs in zip(taken.leaves, as_read.leaves, strict=True):
        np.testing.assert_array_equal(ours, theirs)
