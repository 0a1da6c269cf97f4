"""What a dataset file gives is found, shown, and refused where it can't be used."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfscale.data.collection import Collection
from tfscale.data.sources.dataset_file import read_dataset_file
from tfscale.errors import ConfigError
from tools.inspect_data.inspection import examples_per_second, inspect_split

IMAGES = np.random.default_rng(0).random((30, 8, 8, 1), dtype=np.float32)
CLASSES = np.arange(30) % 3
PARTS = {"train": slice(0, 20), "validation": slice(20, 30)}


def _load(split):
    part = PARTS[split]
    return tf.data.Dataset.from_tensor_slices((IMAGES[part], CLASSES[part]))


def _file(load=_load, **attributes):
    return read_dataset_file(
        SimpleNamespace(__name__="mine", load=load, **({"num_classes": 3} | attributes))
    )


def _rows(found):
    return {title: rows for title, rows in found.tables()}


def test_an_ordinary_split_has_its_figures_and_no_warning(tmp_path):
    out = tmp_path / "grid.png"
    found = inspect_split(_file(), "train", 0, str(out))
    tables = _rows(found)
    assert found.warnings == []
    assert list(tables) == ["split train", "classes of y", "examples a second"]
    assert tables["split train"]["examples"] == "all 20"
    assert tables["split train"]["x"].startswith("float32 (8, 8, 1), ")
    assert tables["split train"]["y"].startswith("int64 (), 0 to 2")
    assert tables["classes of y"]["class 0"] == "7 (35.0 %)"
    assert len(tables["examples a second"]) == 3
    with Image.open(out) as picture:
        assert picture.width > 500
    assert str(out) in tables["split train"]["picture"]


def test_of_a_large_split_the_first_examples_are_looked_at():
    found = inspect_split(_file(), "train", 6)
    assert _rows(found)["split train"]["examples"] == "the first 6 of 20"
    assert found.counts["y"] == {0: 2, 1: 2, 2: 2}


def test_examples_of_training_are_those_of_the_first_epoch_and_others_of_an_evaluation():
    def preprocess(record, training, seed):
        x, y = record
        return (tf.random.stateless_uniform([8, 8, 1], seed) if training else x), y

    file = _file(preprocess=preprocess)
    first, again = (inspect_split(file, "train", 0).figures["x"] for _ in range(2))
    assert first == again
    assert abs(first.mean - IMAGES[:20].mean()) > 1e-6
    evaluated = inspect_split(file, "validation", 0).figures["x"]
    np.testing.assert_allclose(evaluated.mean, IMAGES[20:].mean(), rtol=1e-5)


def test_an_image_of_two_splits_is_found_whatever_training_makes_of_it():
    def load(split):
        part = PARTS[split] if split == "train" else slice(18, 30)
        return tf.data.Dataset.from_tensor_slices((IMAGES[part], CLASSES[part]))

    def preprocess(record, training, seed):
        x, y = record
        return (x * tf.random.stateless_uniform([], seed) if training else x), y

    for split, number, other in (("train", 18, "validation"), ("validation", 0, "train")):
        (line,) = inspect_split(_file(load, preprocess=preprocess), split, 0).warnings
        assert f"2 examples of {split} are in {other} too, such as number {number}" in line


def test_what_is_wrong_is_said():
    def preprocess(record, training):
        x, _ = record
        return x * 255.0 + tf.where(x > 0.99, np.nan, 0.0), 7

    lines = "\n".join(inspect_split(_file(preprocess=preprocess), "train", 0).warnings)
    for words in (
        "NaN",
        "pixels that nobody scaled",
        "class 7 in every example",
        "0 to 2 was expected",
    ):
        assert words in lines


def test_the_number_of_classes_is_not_that_of_each_of_several_outputs():
    def preprocess(record, training):
        return record[0], {"kind": record[1], "odd": record[1] % 2}

    found = inspect_split(_file(preprocess=preprocess), "train", 0)
    assert set(found.counts) == {"y['kind']", "y['odd']"}
    assert found.warnings == []
    assert "class 2" not in _rows(found)["classes of y['odd']"]


def test_detection_counts_its_boxes_and_data_without_images_has_no_picture(tmp_path):
    def preprocess(record, training):
        x, y = record
        return x[0, :, 0], {
            "boxes": tf.zeros([2, 4]),
            "classes": tf.stack([y, tf.constant(-1, y.dtype)]),
        }

    file = _file(preprocess=preprocess, task="detection")
    found = inspect_split(file, "train", 0, str(tmp_path / "grid.png"))
    assert found.counts["y['classes']"] == {0: 7, 1: 7, 2: 6}
    assert found.picture.startswith("none: x has no image")
    assert not list(tmp_path.iterdir())


def test_weights_of_classes_and_collections_of_records_are_looked_at_too():
    def load(split):
        records = Collection(
            num_records=20,
            spec=(tf.TensorSpec([8, 8, 1]), tf.TensorSpec([], tf.int64)),
            read=lambda numbers: (tf.gather(IMAGES, numbers), tf.gather(CLASSES, numbers)),
            checksum=1,
        )
        return records if split == "train" else None

    found = inspect_split(_file(load, class_weight={0: 2.0}), "train", 0)
    assert found.num_examples == 20
    assert found.figures["sample_weight"].high == 2.0


def test_of_a_stream_without_an_end_some_are_looked_at():
    def load(split):
        return _load(split).filter(lambda *_: True).repeat()

    found = inspect_split(_file(load, splits=("train",)), "train", 25)
    assert found.num_examples == 25
    assert "unknown number" in _rows(found)["split train"]["examples"]
    assert any("5 examples of train have the x of an earlier one" in one for one in found.warnings)
    with pytest.raises(ConfigError, match=r"never ends; expected --examples=N"):
        inspect_split(_file(load, splits=("train",)), "train", 0)


def _fails_late(record, training):
    x, y = record
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_sum(x) < 36.0, ["too bright"])]):
        return tf.identity(x), y


@pytest.mark.parametrize(
    ("changes", "arguments", "words"),
    [
        ({}, ("tst",), r"no split 'tst'; expected one of train, validation"),
        ({}, ("train", -1), r"--examples=-1"),
        ({}, ("train", 9, "grid.jpg"), r"--out=grid.jpg can't be written"),
        ({}, ("train", 9, "/no/folder/grid.png"), r"can't be written"),
        ({"load": lambda split: None}, ("train",), r"returned NoneType"),
        ({"load": lambda split: None}, ("validation",), r"no split 'validation'"),
        ({"load": lambda split: 3}, ("train",), r"returned int"),
        ({"preprocess": lambda record, training: record[0]}, ("train",), r"expected \(x, y\)"),
        ({"preprocess": _fails_late}, ("train", 0), r"too bright"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(changes, arguments, words):
    with pytest.raises(ConfigError, match=words):
        inspect_split(_file(**changes), *arguments)


@pytest.mark.parametrize("count", [1, 2, 9, 10, 95])
def test_each_stage_is_read_to_its_end_and_has_a_rate(count):
    read = []

    def noted(number):
        tf.py_function(lambda: read.append(1), [], [])
        return number

    numbers = tf.data.Dataset.range(count).map(noted)
    rates = examples_per_second({"one": (numbers, 1), "four": (numbers.batch(4), 4)}, count)
    assert list(rates) == ["one", "four"]
    assert all(rate > 0 for rate in rates.values())
    assert len(read) == 2 * count
