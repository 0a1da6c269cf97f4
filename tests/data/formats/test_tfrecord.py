from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfscale.data.formats import tfrecord
from tfscale.errors import ConfigError


@pytest.fixture
def folder(tmp_path):
    for name, first in (("b", 3), ("a", 0)):
        with tf.io.TFRecordWriter(str(tmp_path / f"{name}.tfrecord")) as file:
            for number in range(first, first + 3):
                file.write(_example(number))
    return tmp_path


def _example(number):
    features = {
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[number])),
        "name": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"number %d" % number])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _all(records):
    return records.read(tf.range(records.num_records, dtype=tf.int64)).numpy().tolist()


def test_records_come_file_after_file(folder):
    records = tfrecord.records(f"{folder}/*.tfrecord")
    assert records.spec == tf.TensorSpec([], tf.string)
    assert _all(records) == [_example(number) for number in range(6)]
    assert [file.num_records for file in records.files] == [3, 3]
    assert [Path(file.path).name for file in records.files] == ["a.tfrecord", "b.tfrecord"]


def test_records_are_read_in_any_order_as_tensorflow_reads_them(folder):
    records = tfrecord.records(f"{folder}/*.tfrecord")
    names = [file.path for file in records.files]
    expected = list(tf.data.TFRecordDataset(names).as_numpy_iterator())
    order = [5, 0, 3, 3, 1]
    assert records.read(tf.constant(order, tf.int64)).numpy().tolist() == [
        expected[number] for number in order
    ]


def test_examples_are_parsed(folder):
    features = {
        "label": tf.io.FixedLenFeature([], tf.int64),
        "name": tf.io.FixedLenFeature([], tf.string),
    }
    records = tfrecord.examples(f"{folder}/*.tfrecord", features)
    (parse,) = records.functions
    record = parse(records.read(tf.constant([4], tf.int64))[0])
    assert {name: leaf.numpy() for name, leaf in record.items()} == {
        "label": 4,
        "name": b"number 4",
    }


def test_a_checksum_is_that_of_a_copy_elsewhere(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    for path in folder.glob("*.tfrecord"):
        (other / path.name).write_bytes(path.read_bytes())
    first = tfrecord.records(f"{folder}/*.tfrecord").checksum
    assert tfrecord.records(f"{other}/*.tfrecord").checksum == first
    assert tfrecord.records(f"{other}/a.tfrecord").checksum != first


@pytest.mark.promise("damage")
@pytest.mark.parametrize("at", [0, 12, 20, -1])
def test_a_bit_that_was_flipped_is_found_when_its_record_is_read(folder, at):
    records = tfrecord.records(f"{folder}/*.tfrecord")
    size = len(_example(0)) + 16
    path = folder / "b.tfrecord"
    content = bytearray(path.read_bytes())
    content[2 * size + at if at >= 0 else 3 * size + at] ^= 4
    path.write_bytes(content)
    place = f"{path}, byte {2 * size:,}"
    assert records.place_of(5) == place
    good = records.read(tf.range(5, dtype=tf.int64))
    assert len(good) == 5
    with pytest.raises(ConfigError, match=f"{place}: the record is damaged"):
        records.read(tf.constant([0, 5], tf.int64))


@pytest.mark.promise("damage")
def test_a_shard_that_vanishes_before_it_is_read_is_named(folder):
    records = tfrecord.records(f"{folder}/*.tfrecord")
    (folder / "b.tfrecord").unlink()
    assert len(records.read(tf.constant([0, 1, 2], tf.int64))) == 3
    with pytest.raises(ConfigError, match=r"b\.tfrecord, byte 0: the file can't"):
        records.read(tf.constant([3], tf.int64))


@pytest.mark.promise("damage")
def test_a_file_that_was_cut_off_is_refused_when_it_is_opened(folder):
    path = folder / "b.tfrecord"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ConfigError, match="b.tfrecord is cut off: of record 2, at byte"):
        tfrecord.records(f"{folder}/*.tfrecord")


def test_a_pipeline_reads_many_records_with_each_call(folder):
    records = tfrecord.records(f"{folder}/*.tfrecord")
    batches = tf.data.Dataset.range(6).batch(4).map(records.read, num_parallel_calls=2)
    found = np.concatenate([batch.numpy() for batch in batches])
    assert found.tolist() == _all(records)
