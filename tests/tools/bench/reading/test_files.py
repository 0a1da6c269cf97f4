import numpy as np
import pytest
import tensorflow as tf

from tfscale.data.formats import record_index
from tools.bench.reading import files
from tools.bench.reading.formats import record_files


def test_numbers_are_a_tfrecord_file_that_tensorflow_reads_and_an_index_that_fits(tmp_path):
    path = tmp_path / "numbers.tfrecord"
    files.write_numbers(path, 50)
    read = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
    assert [int.from_bytes(record, "little") for record in read] == list(range(50))
    found = record_index.read(record_index.index_path(str(path)), path.stat().st_size)
    built = record_index.build(str(path))
    assert np.array_equal(found.offsets, built.offsets)
    assert np.array_equal(found.sizes, built.sizes)


def test_a_data_set_is_written_once_and_whole_or_not_at_all(tmp_path, monkeypatch):
    said = []
    files.write(tmp_path, 4, ["small", "memory"], said.append)
    assert said == ["writing 128 records of TFRecord, 1 kB of bytes"]
    assert len(record_files(str(tmp_path), "small")) == 4
    files.write(tmp_path, 4, ["small"], said.append)
    assert len(said) == 1

    def full(folder, name, count):
        (folder / "half").touch()
        raise OSError("No space left on device")

    monkeypatch.setattr(files, "_write_shards", full)
    for _ in range(2):
        with pytest.raises(OSError, match="No space"):
            files.write(tmp_path, 4, ["tfrecord"], said.append)
    assert not (tmp_path / "tfrecord").exists()
