import os
import resource
import threading

import numpy as np
import pytest
import tensorflow as tf

from tfscale.data.formats.byte_ranges import ByteRanges, numbered
from tfscale.data.formats.open_files import Descriptor, OpenFiles
from tfscale.errors import ConfigError


def _ranges(folder, num_files=3, per_file=4, **options):
    """Records of 10 bytes that say file and number, one after the other."""
    paths = []
    for file in range(num_files):
        paths.append(str(folder / f"{file:03}"))
        with open(paths[-1], "wb") as written:
            written.write(b"".join(_content(file, number) for number in range(per_file)))
    counts = [per_file] * num_files
    offsets = np.tile(np.arange(per_file, dtype=np.int64) * 10, num_files)
    sizes = np.full(num_files * per_file, 10, np.int64)
    return ByteRanges(tuple(paths), numbered(counts), offsets, sizes, **options)


def _content(file, number):
    return b"%04d:%04d." % (file, number)


def _read(ranges, *numbers):
    return list(ranges.read(np.array(numbers, np.int64)))


def test_records_come_in_the_order_that_was_asked_for(tmp_path):
    ranges = _ranges(tmp_path)
    assert len(ranges) == 12
    numbers = [11, 0, 5, 5, 4]
    assert _read(ranges, *numbers) == [_content(n // 4, n % 4) for n in numbers]


def test_no_record_is_nothing(tmp_path):
    assert _read(_ranges(tmp_path)) == []


def test_bytes_that_texts_of_numpy_would_lose_are_kept(tmp_path):
    (tmp_path / "file").write_bytes(b"\0a\0\0")
    ranges = ByteRanges(
        (str(tmp_path / "file"),), numbered([2]), np.array([0, 2]), np.array([3, 2])
    )
    found = ranges.tensor(tf.constant([0, 1], tf.int64))
    assert found.numpy().tolist() == [b"\0a\0", b"\0\0"]


def test_a_traced_function_reads_many_at_a_time_in_several_threads(tmp_path):
    ranges = _ranges(tmp_path, num_files=50, per_file=20, opened=OpenFiles(Descriptor, 3))
    order = np.random.default_rng(0).permutation(len(ranges))
    batches = tf.data.Dataset.from_tensor_slices(order).batch(128)
    read = batches.map(ranges.tensor, num_parallel_calls=4)
    assert read.element_spec.shape.as_list() == [None]
    found = np.concatenate([batch.numpy() for batch in read])
    assert found.tolist() == [_content(n // 20, n % 20) for n in order.tolist()]
    assert len(ranges.opened) == 3


def test_a_number_below_zero_is_none_from_the_end(tmp_path):
    with pytest.raises(IndexError, match="record -1 was asked for"):
        _read(_ranges(tmp_path), 3, -1)


def test_a_place_is_named(tmp_path):
    assert _ranges(tmp_path).place_of(6) == f"{tmp_path}/001, byte 20"


@pytest.mark.promise("damage")
def test_a_file_that_vanishes_is_an_error_with_its_place(tmp_path):
    ranges = _ranges(tmp_path, opened=OpenFiles(Descriptor, 1))
    assert _read(ranges, 0, 4) == [_content(0, 0), _content(1, 0)]
    os.unlink(ranges.paths[0])
    with pytest.raises(ConfigError, match=r"/000, byte 30: the file can't be opened any more"):
        _read(ranges, 3)


@pytest.mark.promise("damage")
def test_a_file_that_shrinks_while_it_is_open_is_an_error_with_its_place(tmp_path):
    ranges = _ranges(tmp_path)
    assert _read(ranges, 3) == [_content(0, 3)]
    os.truncate(ranges.paths[0], 35)
    with pytest.raises(ConfigError, match=r"/000, byte 30: the file ends 5 bytes before its rec"):
        _read(ranges, 0, 3)
    # In a pipeline it is an error of that batch; a memory map would end the process.
    with pytest.raises(tf.errors.InvalidArgumentError, match="/000, byte 30: the file ends"):
        list(tf.data.Dataset.range(4).batch(4).map(ranges.tensor))


@pytest.mark.promise("damage")
def test_a_disk_that_fails_is_an_error_with_the_place(tmp_path, monkeypatch):
    ranges = _ranges(tmp_path)

    def broken(descriptor, size, offset):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", broken)
    with pytest.raises(OSError, match="/000, byte 0 can't be read: Input/output error"):
        _read(ranges, 0)


def test_what_is_stored_is_decoded_with_its_place(tmp_path):
    seen = []

    def decode(stored, path, offset):
        seen.append((path[-3:], offset))
        return stored.upper()

    _read(_ranges(tmp_path, decode=decode), 5, 0)
    assert seen == [("000", 0), ("001", 10)]


def test_a_file_that_is_read_is_not_closed_by_others_that_are_opened(tmp_path):
    ranges = _ranges(tmp_path, num_files=40, per_file=2, opened=OpenFiles(Descriptor, 1))
    wrong = []

    def read_all(seed):
        order = np.random.default_rng(seed)
        for _ in range(20):
            numbers = order.integers(0, len(ranges), 30)
            found = list(ranges.read(numbers))
            wrong.extend(
                f for f, n in zip(found, numbers, strict=True) if f != _content(n // 2, n % 2)
            )

    threads = [threading.Thread(target=read_all, args=[seed]) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_reading_far_apart_in_a_file_of_twenty_gigabytes_costs_no_memory(tmp_path):
    path, far = tmp_path / "sparse", 20 * 2**30
    with path.open("wb") as file:
        for gap in range(5):
            file.seek(gap * far // 5)
            file.write(b"%010d" % gap)
        file.truncate(far)
    offsets = np.arange(5, dtype=np.int64) * (far // 5)
    ranges = ByteRanges((str(path),), numbered([5]), offsets, np.full(5, 10))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(100):
        assert _read(ranges, 4, 0, 2, 1, 3) == [b"%010d" % gap for gap in (4, 0, 2, 1, 3)]
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 32 * 1024  # KiB
