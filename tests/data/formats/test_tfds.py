import json
import sys

import numpy as np
import pytest
import tensorflow_datasets

from tests.data.formats.reading import read_all
from tests.data.formats.rendered import picture
from tests.data.formats.written_by_tfds import NUM_TEST, NUM_TRAIN, RenderedShapes, write
from tfscale.data import images
from tfscale.data.formats import tfds
from tfscale.errors import ConfigError

NAME = "rendered_shapes"


def _by_the_library(builder, split):
    if builder.info.file_format.value == "array_record":
        return list(builder.as_data_source(split))
    return list(builder.as_dataset(split).as_numpy_iterator())


@pytest.fixture(scope="module", params=tfds.FILE_FORMATS)
def data_dir(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    write(RenderedShapes(data_dir=str(folder)), request.param, num_shards=3)
    return str(folder)


def _labels(collection):
    return [int(record["label"]) for record in read_all(collection)]


def test_every_record_comes_once_as_its_features_say(data_dir):
    collection = tfds.records(NAME, "train", data_dir)
    assert len(collection.files) == 3
    records = read_all(collection)
    assert sorted(int(record["label"]) for record in records) == list(range(NUM_TRAIN))
    for record in records:
        np.testing.assert_array_equal(record["image"], picture(int(record["label"])))
        assert record["boxes"].shape == (int(record["label"]) % 3, 4)


def test_records_come_in_the_order_of_the_library_itself(data_dir):
    builder = tensorflow_datasets.builder_from_directory(f"{data_dir}/{NAME}/1.0.0")
    for split in ("train", "train[20%:70%]", "train[3:-4]", "test+train[:2]", "train[-1:]"):
        theirs = [int(one["label"]) for one in _by_the_library(builder, split)]
        assert _labels(tfds.records(NAME, split, data_dir)) == theirs, split


def test_parts_have_checksums_of_their_own_and_tell_where_their_records_lie(data_dir):
    first = tfds.records(NAME, "train[:6]", data_dir)
    second = tfds.records(NAME, "train[6:]", data_dir)
    whole = tfds.records(NAME, "train", data_dir)
    assert len({first.checksum, second.checksum, whole.checksum}) == 3
    assert whole.checksum == tfds.records(NAME, "train", data_dir).checksum
    places = [one.place_of(at) for one in (first, second) for at in range(one.num_records)]
    assert places == [whole.place_of(at) for at in range(NUM_TRAIN)]
    assert f"{NAME}-train" in places[0]


def test_images_may_stay_the_bytes_of_their_files(data_dir):
    for record in read_all(tfds.records(NAME, "test", data_dir, decode_images=False)):
        decoded = images.decode(record["image"])
        np.testing.assert_array_equal(decoded, picture(int(record["label"])))


def test_what_is_there_is_not_prepared_again(data_dir, monkeypatch):
    monkeypatch.setattr(tensorflow_datasets, "builder", None)  # it would be asked to prepare it
    tfds.prepare(NAME, data_dir)


@pytest.mark.parametrize("split", ["dev", "train[:", "train[:50%]+nothing"])
def test_a_split_that_is_not_there_is_refused_with_those_that_are(data_dir, split):
    with pytest.raises(
        ConfigError, match=r"rendered_shapes has no split .* expected one of train, test"
    ):
        tfds.records(NAME, split, data_dir)


def test_a_part_without_records_is_refused(data_dir):
    with pytest.raises(ConfigError, match="has no records; expected at least one"):
        tfds.records(NAME, "train[:0]", data_dir)


def test_a_data_set_that_is_not_there_is_refused_with_what_to_do(data_dir):
    with pytest.raises(
        ConfigError, match=r"no data set 'mnist' in .*mnist/1.0.0/dataset_info.json"
    ):
        tfds.records("mnist", "train", data_dir)


def test_one_is_prepared_by_its_name_in_the_format_that_is_asked_for(tmp_path):
    tfds.prepare(NAME, str(tmp_path), file_format="tfrecord")
    names = [path.name for path in (tmp_path / NAME / "1.0.0").iterdir()]
    assert f"{NAME}-train.tfrecord-00000-of-00001" in names
    assert len(_labels(tfds.records(NAME, "test", str(tmp_path)))) == NUM_TEST


@pytest.mark.promise("damage")
@pytest.mark.parametrize("file_format", tfds.FILE_FORMATS)
def test_a_file_that_is_missing_is_refused_by_its_name(tmp_path, file_format):
    write(RenderedShapes(data_dir=str(tmp_path)), file_format, num_shards=2)
    file = f"{NAME}-train.{file_format}-00001-of-00002"
    (tmp_path / NAME / "1.0.0" / file).unlink()
    with pytest.raises(ConfigError, match=f"{file} is missing; expected all files"):
        tfds.records(NAME, "train", str(tmp_path))


@pytest.mark.promise("damage")
@pytest.mark.parametrize("file_format", tfds.FILE_FORMATS)
def test_a_file_with_other_records_than_were_written_is_refused(tmp_path, file_format):
    write(RenderedShapes(data_dir=str(tmp_path)), file_format)
    folder = tmp_path / NAME / "1.0.0"
    other = f"{NAME}-test.{file_format}-00000-of-00001"
    (folder / other).replace(folder / other.replace("test", "train"))
    with pytest.raises(ConfigError, match=f"has {NUM_TEST} records; expected {NUM_TRAIN}, as its"):
        tfds.records(NAME, "train", str(tmp_path))


def test_files_of_another_format_are_refused(tmp_path):
    write(RenderedShapes(data_dir=str(tmp_path)), "tfrecord")
    info = tmp_path / NAME / "1.0.0" / "dataset_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"fileFormat": "riegeli"}))
    for path in list(info.parent.glob("*.tfrecord-*")):
        path.rename(str(path).replace("tfrecord", "riegeli"))
    with pytest.raises(ConfigError, match="was written as riegeli; expected one of array_record"):
        tfds.records(NAME, "train", str(tmp_path))


def test_an_unknown_name_or_format_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="There is no data set 'no_such_set'"):
        tfds.prepare("no_such_set", str(tmp_path))
    with pytest.raises(ConfigError, match="file_format is 'csv'; expected one of array_record"):
        tfds.prepare(NAME, str(tmp_path), file_format="csv")


@pytest.mark.parametrize("package", ["importlib_resources", "tensorflow_datasets"])
def test_a_package_that_is_not_installed_is_named_with_the_command(monkeypatch, tmp_path, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=f"{package}.*pip install tensorflow-datasets"):
        tfds.records(NAME, "train", str(tmp_path))
