"""What a split is, is decided once: by its size, by whether it ends, and by `read`."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tfscale.data.sharding import Sharding
from tfscale.data.sources.dataset_file import read_dataset_file
from tfscale.data.sources.in_memory import hold
from tfscale.data.sources.indexed import Indexed
from tfscale.data.sources.source import classified, source_of
from tfscale.data.sources.streams import Files, Stream
from tfscale.errors import ConfigError


def _file(load=lambda split: tf.data.Dataset.range(3), **attributes):
    return read_dataset_file(SimpleNamespace(__name__="mine", load=load, **attributes))


def _read(record):
    return tf.data.Dataset.range(record, record + 4)


def test_records_of_a_small_known_number_are_reached_by_an_index():
    found = classified("mine", tf.data.Dataset.range(3), None)
    assert isinstance(found, Indexed)
    assert found.num_examples == 3


@pytest.mark.parametrize(
    ("dataset", "is_infinite"),
    [
        (lambda: tf.data.Dataset.range(3).repeat(), True),
        (lambda: tf.data.Dataset.range(9).filter(lambda number: number > 2), False),
    ],
)
def test_records_that_cannot_be_counted_are_a_stream(dataset, is_infinite):
    found = classified("mine", dataset(), None)
    assert isinstance(found, Stream)
    assert found.num_examples is None
    assert found.is_infinite == is_infinite
    assert found.checksum == classified("mine", dataset(), None).checksum


def test_records_that_read_opens_are_files_of_unknown_length():
    found = classified("mine", tf.data.Dataset.range(0, 12, 4), _read)
    assert isinstance(found, Files)
    assert found.num_examples is None
    assert found.checksum == classified("mine", tf.data.Dataset.range(0, 12, 4), None).checksum
    assert [int(number) for number in found.records] == list(range(12))


@pytest.mark.parametrize(
    "names", [lambda: tf.data.Dataset.range(3).repeat(), lambda: tf.data.Dataset.range(0)]
)
def test_files_that_are_not_listed_are_refused(names):
    with pytest.raises(ConfigError, match=r"mine must list its files for read\(\)"):
        classified("mine", names(), _read)


def test_a_record_that_fails_is_told_in_one_line_with_its_split():
    def broken(split):
        return tf.data.Dataset.range(3).map(lambda number: tf.io.read_file("/no/file")).cache()

    with pytest.raises(ConfigError) as caught:
        source_of(_file(broken), "train")
    assert "mine: load('train') failed while its records were read: " in str(caught.value)
    assert "/no/file" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_split_that_does_not_exist_has_no_source():
    assert source_of(_file(lambda split: None), "validation") is None


def test_a_source_carries_the_name_of_its_split():
    assert source_of(_file(), "train").name == "mine: load('train')"
    assert source_of(_file(read=_read), "train").name == "mine: load('train')"


def _counted(size):
    return tf.data.Dataset.from_tensor_slices(tf.range(10, 10 + size))


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9])
@pytest.mark.parametrize(("workers", "devices"), [(1, 1), (2, 1), (2, 2)])
def test_an_evaluation_of_an_index_marks_what_only_fills_up(size, workers, devices):
    found = Indexed("mine", hold("mine", _counted(size), budget_bytes=1e6))
    seen = []
    for worker in range(workers):
        sharding = Sharding(8, workers, worker, devices)
        places = found.evaluation_places(sharding)
        steps = found.evaluation_steps(sharding) or 0
        rows = places.elements.map(places.fetch).take(steps * sharding.worker_batch)
        seen += [(int(index), int(record)) for record, index, _ in rows]
    real = [(index, record) for index, record in seen if index >= 0]
    assert sorted(real) == [(index, 10 + index) for index in range(size)]
    assert len(seen) == -(-size // 8) * 8


def test_an_index_gives_whole_batches_only_where_records_can_be_stacked():
    sharding = Sharding(4, 1, 0, 1)
    fixed = classified("mine", tf.data.Dataset.from_tensor_slices(np.arange(8)), None)
    batches = fixed.whole_batches(sharding, 0, 0, None)
    assert sorted(np.concatenate([batch.numpy() for batch in batches.take(2)])) == list(range(8))
    of_many_shapes = tf.data.Dataset.range(3).map(lambda number: tf.range(number))
    assert classified("mine", of_many_shapes, None).whole_batches(sharding, 0, 0, None) is None
    assert (
        classified("mine", of_many_shapes.cache(), None).whole_batches(sharding, 0, 0, None) is None
    )
    assert (
        classified("mine", of_many_shapes.repeat(), None).whole_batches(sharding, 0, 0, None)
        is None
    )
