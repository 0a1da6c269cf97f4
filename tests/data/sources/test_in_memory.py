import numpy as np
import pytest
import tensorflow as tf

from tfscale.data.sources import in_memory, source
from tfscale.data.sources.dataset_graph import collection_of
from tfscale.data.sources.in_memory import hold
from tfscale.data.sources.source import classified
from tfscale.data.sources.streams import Stream
from tfscale.errors import ConfigError

BUDGET = 2**30


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
    found = hold("mine", dataset, budget_bytes=BUDGET)
    assert not found.functions
    assert found.num_records == int(dataset.cardinality())
    for index, record in enumerate(dataset):
        _equal(found.at(_int64(index)), record)


def test_several_records_of_one_shape_are_had_at_once():
    dataset = tf.data.Dataset.from_tensor_slices((np.arange(12).reshape(6, 2), list("abcdef")))
    numbers, letters = hold("mine", dataset, budget_bytes=BUDGET).read(_int64(4, 0, 4))
    np.testing.assert_array_equal(numbers, [[8, 9], [0, 1], [8, 9]])
    assert list(letters.numpy()) == [b"e", b"a", b"e"]


def test_records_of_different_shapes_come_back_as_they_were():
    dataset = _of_different_shapes()
    found = hold("mine", dataset, budget_bytes=BUDGET)
    assert found.functions
    for index, record in enumerate(dataset):
        _equal(found.at(_int64(index)), record)


def test_a_record_of_unknown_shape_keeps_what_is_known_of_it_within_a_dataset():
    found = hold("mine", _of_different_shapes(), budget_bytes=BUDGET)
    mapped = tf.data.Dataset.range(4).map(found.at)
    assert mapped.element_spec == _of_different_shapes().element_spec
    assert [len(record["words"]) for record in mapped] == [3, 0, 5, 1]


def test_more_records_than_are_read_ahead_keep_their_order(monkeypatch):
    monkeypatch.setattr(in_memory, "_READ_AHEAD", 4)
    found = hold("mine", tf.data.Dataset.range(10, 21), budget_bytes=BUDGET)
    np.testing.assert_array_equal(found.read(tf.range(11, dtype=tf.int64)), np.arange(10, 21))


def test_records_beyond_the_budget_stay_a_stream_of_known_length(monkeypatch):
    dataset = tf.data.Dataset.from_tensor_slices(np.zeros((10, 100), np.float32))
    assert hold("mine", dataset, budget_bytes=4000) is not None
    assert hold("mine", dataset, budget_bytes=3999) is None
    monkeypatch.setattr(source, "MEMORY_BUDGET_BYTES", 3999)
    beyond = classified("mine", dataset.cache(), None)  # what a cache holds can't be taken apart
    assert isinstance(beyond, Stream)
    assert beyond.num_examples == 10
    assert not beyond.is_infinite


def test_texts_count_by_their_length():
    dataset = tf.data.Dataset.from_tensor_slices(["x" * 100] * 10)
    assert hold("mine", dataset, budget_bytes=1000) is not None
    assert hold("mine", dataset, budget_bytes=999) is None


def test_the_first_records_tell_that_all_are_too_many():
    made = []

    def record(number):
        made.append(int(number))
        return np.zeros(100, np.float32)

    dataset = tf.data.Dataset.range(1000).map(
        lambda number: tf.ensure_shape(tf.numpy_function(record, [number], tf.float32), [100])
    )
    assert hold("mine", dataset, budget_bytes=100_000) is None
    assert len(made) < 40


@pytest.mark.parametrize(
    "dataset",
    [
        lambda: tf.data.Dataset.from_tensor_slices(tf.sparse.from_dense([[1, 0], [0, 2]])),
        lambda: tf.data.Dataset.from_tensor_slices(tf.ragged.constant([[1], [2, 3]])),
    ],
)
def test_sparse_and_ragged_records_are_refused_with_what_to_do(dataset):
    with pytest.raises(ConfigError) as caught:
        hold("mine", dataset(), budget_bytes=BUDGET)
    assert "mine gives sparse or ragged records" in str(caught.value)
    assert "Make them dense" in str(caught.value)


# Examples.


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int64", "float16", "bfloat16", "float32", "complex64"]
)
def test_every_dtype_has_a_checksum_that_a_changed_record_changes(dtype):
    def checksum(numbers):
        records = tf.data.Dataset.from_tensor_slices(tf.cast(tf.constant(numbers), dtype))
        return hold("mine", records, budget_bytes=BUDGET).checksum

    assert checksum([0, 1, 0, 1]) == checksum([0, 1, 0, 1])
    assert checksum([0, 1, 0, 1]) != checksum([0, 1, 1, 0])


def test_what_is_held_has_the_checksum_of_the_slices_that_it_was_made_of():
    records = tf.data.Dataset.from_tensor_slices((np.arange(6).reshape(3, 2), list("abc")))
    read = hold("mine", records, budget_bytes=BUDGET)
    assert read.checksum == collection_of(records).checksum
