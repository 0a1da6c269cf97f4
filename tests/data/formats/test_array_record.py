import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfscale.data.formats import array_record
from tfscale.data.formats.open_files import OpenFiles
from tfscale.errors import ConfigError
from tfscale.files import manifest
from tfscale.files.manifest import Manifest, Shard


def _data(file):
    """Of a size that makes several blocks, of bytes that can't be compressed."""
    drawn = np.random.default_rng(file)
    return [drawn.bytes(2000) for _ in range(100)]


@pytest.fixture
def folder(tmp_path):
    for file in range(2):
        writer = array_record.module().ArrayRecordWriter(
            str(tmp_path / f"{file}.array_record"), "group_size:1"
        )
        for each in _data(file):
            writer.write(each)
        writer.close()
    return tmp_path


def _records(folder):
    return array_record.records(f"{folder}/*.array_record")


def _with_manifest(folder, records=()):
    files = {}
    for path in sorted(folder.glob("*.array_record")):
        content = path.read_bytes()
        count = dict(records).get(path.name, 100)
        files[path.name] = Shard(count, len(content), hashlib.sha256(content).hexdigest())
    manifest.write(folder, Manifest(files))


def test_records_come_file_after_file_in_any_order(folder):
    records = _records(folder)
    assert records.num_records == 200
    assert [file.num_records for file in records.files] == [100, 100]
    expected = _data(0) + _data(1)
    order = np.random.default_rng(0).permutation(200)
    batches = tf.data.Dataset.from_tensor_slices(order).batch(64)
    found = [
        text
        for batch in batches.map(records.read, num_parallel_calls=4)
        for text in batch.numpy().tolist()
    ]
    assert found == [expected[number] for number in order]


def test_a_place_is_named(folder):
    assert _records(folder).place_of(103) == f"{folder}/1.array_record, record 3 of it"


@pytest.mark.promise("damage")
def test_a_file_that_was_cut_off_is_refused(folder):
    path = folder / "1.array_record"
    path.write_bytes(path.read_bytes()[:-70_000])
    with pytest.raises(
        ConfigError, match=r"1\.array_record is cut off or damaged, or no ArrayRecord"
    ):
        _records(folder)


def test_a_file_without_a_record_is_refused_unless_a_manifest_says_so(folder):
    array_record.module().ArrayRecordWriter(str(folder / "1.array_record"), "").close()
    with pytest.raises(ConfigError, match=r"1\.array_record has [\d,]+ bytes and no record, as a"):
        _records(folder)
    _with_manifest(folder, records={"1.array_record": 0})
    assert _records(folder).num_records == 100


@pytest.mark.promise("damage")
def test_a_manifest_tells_that_a_file_was_cut_off(folder):
    _with_manifest(folder)
    path = folder / "1.array_record"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-70_000])
    words = rf"1\.array_record has {size - 70_000:,} bytes; expected {size:,}, as manifest\.json"
    with pytest.raises(ConfigError, match=words):
        _records(folder)


def test_another_count_than_the_manifest_says_is_refused(folder):
    _with_manifest(folder, records={"1.array_record": 101})
    with pytest.raises(ConfigError, match=r"1\.array_record has 100 records; expected 101"):
        _records(folder)


@pytest.mark.promise("damage")
def test_a_bit_that_was_flipped_is_found_when_its_record_is_read(folder):
    path = folder / "1.array_record"
    content = bytearray(path.read_bytes())
    content[content.index(_data(1)[7]) + 1000] ^= 1
    path.write_bytes(content)
    records = _records(folder)
    assert len(records.read(tf.constant([0, 106, 108], tf.int64))) == 3
    with pytest.raises(ConfigError, match=r"1\.array_record, record 7 of it: the record is dam"):
        records.read(tf.constant([0, 106, 107, 108], tf.int64))
    assert len(records.read(tf.constant([106], tf.int64))) == 1


@pytest.mark.promise("damage")
def test_a_shard_that_vanishes_before_it_is_read_is_named(folder):
    records = _records(folder)
    Path(folder / "1.array_record").unlink()
    assert len(records.read(tf.constant([0], tf.int64))) == 1
    words = r"1\.array_record, record 5 of it: the file can't be opened any more"
    with pytest.raises(ConfigError, match=words):
        records.read(tf.constant([105], tf.int64))


def test_a_file_of_another_format_is_refused(tmp_path):
    (tmp_path / "a.array_record").write_bytes(b"no such thing" * 10_000)
    with pytest.raises(ConfigError, match=r"a\.array_record "):
        _records(tmp_path)


def test_files_are_opened_when_they_are_read_and_few_stay_open(folder):
    records = array_record._Records(
        tuple(str(folder / f"{file}.array_record") for file in range(2)),
        np.repeat(np.arange(2, dtype=np.int32), 100),
        np.array([0, 100, 200]),
        OpenFiles(array_record._reader, 1),
    )
    assert len(records.opened) == 0
    assert list(records.read(np.array([150, 3]))) == [_data(1)[50], _data(0)[3]]
    assert len(records.opened) == 1


def test_a_number_below_zero_is_none_from_the_end(folder):
    with pytest.raises(IndexError, match="record -1 was asked for"):
        _records(folder).read(tf.constant([-1], tf.int64))


def test_without_its_package_it_says_which_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "array_record.python", None)
    with pytest.raises(ConfigError, match="Type: pip install array_record"):
        _records(folder)
