import os
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfscale.data.formats import record_index
from tfscale.data.formats.record_index import build, index_path, indexes_of, masked_crc32c
from tfscale.errors import ConfigError
from tfscale.files import once

DATA = [b"a" * 5, b"", b"ccc", b"d" * 300_000, b"e", b"f" * 40]


@pytest.fixture
def path(tmp_path):
    return _written(tmp_path / "a.tfrecord", DATA)


def _written(path, data, options=None):
    with tf.io.TFRecordWriter(str(path), options) as file:
        for each in data:
            file.write(each)
    return str(path)


def _pairs(index):
    return list(zip(index.offsets.tolist(), index.sizes.tolist(), strict=True))


def _framed(data):
    """As the format is described: length, its checksum, data, its checksum."""
    length = struct.pack("<Q", len(data))
    crcs = [struct.pack("<I", masked_crc32c(each)) for each in (length, data)]
    return length + crcs[0] + data + crcs[1]


def _later(path, by_seconds):
    """Moves a file's time of change: nobody waits."""
    stat = os.stat(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + by_seconds * 10**9))


def test_checksums_are_those_of_the_format(path):
    assert Path(path).read_bytes() == b"".join(map(_framed, DATA))


def test_an_index_says_where_each_record_lies(path):
    content = Path(path).read_bytes()
    found = _pairs(build(path))
    assert [content[at + 12 : at + size - 4] for at, size in found] == DATA
    assert sum(size for _, size in found) == len(content)


@pytest.mark.parametrize("sizes", [[0] * 2000, [100] * 9000, [20_000] * 40, [17, 70_000] * 20])
def test_many_records_of_any_size_are_found(tmp_path, sizes):
    path = _written(tmp_path / "b.tfrecord", [bytes(size) for size in sizes])
    assert [size for _, size in _pairs(build(path))] == [size + 16 for size in sizes]


def test_the_index_file_is_that_of_dali(path):
    indexes_of([path])
    lines = index_path(path).read_text().splitlines()
    assert lines[:3] == ["0 21", "21 16", "37 19"]
    assert len(lines) == len(DATA)


def test_an_index_that_is_there_is_used(path, monkeypatch):
    (made,) = indexes_of([path])
    monkeypatch.setattr(record_index, "build", lambda path: pytest.fail("it was made again"))
    (again,) = indexes_of([path])
    assert _pairs(again) == _pairs(made)


def test_a_file_without_records_has_an_index_without_lines(tmp_path, monkeypatch):
    path = _written(tmp_path / "b.tfrecord", [])
    assert [len(index) for index in indexes_of([path])] == [0]
    monkeypatch.setattr(record_index, "build", lambda path: pytest.fail("it was made again"))
    assert [len(index) for index in indexes_of([path])] == [0]


def test_an_index_that_is_older_than_its_file_is_made_anew(path):
    indexes_of([path])
    # The same size, with other records.
    _written(path, [*DATA[1:], DATA[0]])
    _later(path, 10)
    assert _pairs(indexes_of([path])[0])[0] == (0, 16)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0 21\n",
        "0 21\n21 16\n37 19\n",
        "1 21\n",
        "0 -21\n",
        "words\n",
        "0 21 16\n",
        "0 21\n21 16",
        "0\n21\n",
    ],
)
def test_an_index_that_does_not_fit_its_file_is_made_anew(path, text):
    index_path(path).write_text(text)
    assert _pairs(indexes_of([path])[0]) == _pairs(build(path))
    assert len(index_path(path).read_text().splitlines()) == len(DATA)


def test_a_million_records_are_read_from_an_index_as_they_were_written(tmp_path):
    offsets = np.arange(10**6, dtype=np.int64) * 100
    record_index.write(tmp_path / "big.idx", record_index.RecordIndex(offsets, np.full(10**6, 100)))
    found = record_index.read(tmp_path / "big.idx", 10**8)
    np.testing.assert_array_equal(found.offsets, offsets)


@pytest.mark.promise("damage")
@pytest.mark.parametrize(
    ("kept_bytes", "words"),
    [
        (25, "of record 1, at byte 21, 4 bytes are left, of a header of 12"),
        (20, "of record 0, at byte 0, 20 bytes are left, of 21"),
        (37 + 18, "of record 2, at byte 37, 18 bytes are left, of 19"),
        (56 + 1000, "of record 3, at byte 56, 1,000 bytes are left, of 300,016"),
    ],
)
def test_a_file_that_was_cut_off_is_refused_with_the_place(path, kept_bytes, words):
    os.truncate(path, kept_bytes)
    with pytest.raises(ConfigError) as caught:
        indexes_of([path])
    assert str(caught.value).startswith(f"{path} is cut off: {words}; expected a whole record.")
    assert not index_path(path).exists()


@pytest.mark.promise("damage")
def test_a_length_that_was_changed_is_refused_with_the_place(path):
    content = bytearray(Path(path).read_bytes())
    content[37] ^= 1
    Path(path).write_bytes(content)
    with pytest.raises(ConfigError, match="is damaged.*at byte 37, of record 2, a length"):
        build(path)


@pytest.mark.parametrize(("kind", "named"), [("GZIP", "gzip"), ("ZLIB", "zlib")])
def test_a_compressed_file_is_refused_as_such(tmp_path, kind, named):
    path = _written(tmp_path / "b.tfrecord", DATA, kind)
    with pytest.raises(ConfigError, match=rf"is compressed \({named}\); expected a TFRecord file"):
        build(path)


def test_a_file_of_another_format_is_refused(tmp_path):
    (tmp_path / "b.tfrecord").write_text("no TFRecord file at all")
    with pytest.raises(ConfigError, match="is damaged, or no TFRecord file: at byte 0"):
        build(str(tmp_path / "b.tfrecord"))


def _not_beside(monkeypatch, cache):
    """A share: files beside it can't be written, and those of this user go to `cache`."""
    can_be_written, write = once.can_be_written, record_index.write

    def write_elsewhere(path, index):
        if cache not in path.parents:
            raise PermissionError(30, "Read-only file system", str(path))
        write(path, index)

    for module in (once, record_index):
        monkeypatch.setattr(module, "cache_folder", lambda name: cache / name)
    monkeypatch.setattr(record_index, "write", write_elsewhere)
    monkeypatch.setattr(
        once, "can_be_written", lambda one: cache in one.parents and can_be_written(one)
    )


def test_indexes_of_a_folder_that_cannot_be_written_to_go_into_the_cache(
    path, tmp_path, monkeypatch
):
    _not_beside(monkeypatch, tmp_path / "cache")
    (made,) = indexes_of([path])
    assert not index_path(path).exists()
    monkeypatch.setattr(record_index, "build", lambda path: pytest.fail("it was made again"))
    assert _pairs(indexes_of([path])[0]) == _pairs(made)


def test_files_of_one_name_in_two_folders_do_not_share_an_index(path, tmp_path, monkeypatch):
    _not_beside(monkeypatch, tmp_path / "cache")
    (tmp_path / "other").mkdir()
    other = _written(tmp_path / "other" / "a.tfrecord", DATA[:2])
    assert [len(index) for index in indexes_of([path, other])] == [len(DATA), 2]
    assert [len(index) for index in indexes_of([path, other])] == [len(DATA), 2]


def test_where_nothing_can_be_written_an_index_is_made_each_time(path, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    _not_beside(monkeypatch, tmp_path / "file")
    assert [len(index) for index in indexes_of([path])] == [len(DATA)]
    assert [len(index) for index in indexes_of([path])] == [len(DATA)]


def test_of_many_that_ask_at_once_one_makes_the_index(path, monkeypatch):
    built, found = [], []
    real = record_index.build

    def build_one(path):
        built.append(path)
        return real(path)

    monkeypatch.setattr(record_index, "build", build_one)
    threads = [threading.Thread(target=lambda: found.extend(indexes_of([path]))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built == [path]
    assert [len(index) for index in found] == [len(DATA)] * 4
