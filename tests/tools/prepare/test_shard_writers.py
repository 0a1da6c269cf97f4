import errno

import pytest
import tensorflow as tf

from tfscale.data.formats import array_record, record_index, tfrecord
from tfscale.errors import ConfigError
from tfscale.files.manifest import sha256_of
from tools.prepare.shard_writers import WRITERS

READERS = {"tfrecord": tfrecord.records, "array_record": array_record.records}
DATA = [b"one", b"", b"three" * 1000]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_shard_says_what_it_holds(tmp_path, kind):
    path = tmp_path / "shard"
    shard = WRITERS[kind](path, iter(DATA))
    assert shard.records == 3
    assert shard.num_bytes == path.stat().st_size
    assert shard.sha256 == sha256_of(path)
    records = READERS[kind](path)
    found = records.read(tf.constant([2, 0, 1], tf.int64))
    assert found.numpy().tolist() == [DATA[2], DATA[0], DATA[1]]


@pytest.mark.parametrize("kind", WRITERS)
def test_the_same_records_make_the_same_file(tmp_path, kind):
    shards = [WRITERS[kind](tmp_path / name, iter(DATA)) for name in ("a", "b")]
    assert shards[0] == shards[1]


def test_a_tfrecord_file_comes_with_the_index_that_would_be_built(tmp_path, monkeypatch):
    path = str(tmp_path / "shard")
    WRITERS["tfrecord"](tmp_path / "shard", iter(DATA))
    built = record_index.build(path)
    monkeypatch.setattr(record_index, "build", lambda path: pytest.fail("it was built"))
    (kept,) = record_index.indexes_of([path])
    assert kept.offsets.tolist() == built.offsets.tolist()
    assert kept.sizes.tolist() == built.sizes.tolist()


@pytest.mark.parametrize("kind", WRITERS)
def test_records_that_fail_leave_no_shard(tmp_path, kind):
    def failing():
        yield b"one"
        raise OSError(errno.EIO, "source")

    with pytest.raises(OSError, match="source"):
        WRITERS[kind](tmp_path / "shard", failing())
    assert list(tmp_path.iterdir()) == []


def test_a_shard_that_is_not_whole_on_the_disk_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(array_record, "count", lambda path: 2)
    with pytest.raises(ConfigError, match="shard has 2 records after 3 were written"):
        WRITERS["array_record"](tmp_path / "shard", iter(DATA))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_one_error(tmp_path):
    with pytest.raises(OSError, match="shard can't be written"):
        WRITERS["array_record"](tmp_path / "none" / "shard", iter(DATA))
