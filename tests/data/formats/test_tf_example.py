import json

import numpy as np
import pytest
import tensorflow as tf

from tests.data.formats.reading import read_all
from tfscale.data.formats import held, tf_example
from tfscale.errors import ConfigError

FEATURES = {
    "image": {"dtype": "string", "shape": []},
    "label": {"dtype": "int64", "shape": []},
    "boxes": {"dtype": "float32", "shape": [None, 4]},
    "weight": {"dtype": "float32", "shape": [], "default": 0.5},
}


def _serialized(boxes, **more):
    features = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"\x00pixels"])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[7])),
        "boxes": tf.train.Feature(float_list=tf.train.FloatList(value=boxes)),
        **more,
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "features.json"


def _read(path, *serialized, features=FEATURES):
    path.write_text(json.dumps(features))
    return read_all(tf_example.examples(held.collection("some", held.texts(serialized)), str(path)))


def test_an_example_becomes_what_the_file_beside_it_says(path):
    weight = tf.train.Feature(float_list=tf.train.FloatList(value=[2.0]))
    first, second = _read(path, _serialized(range(8), weight=weight), _serialized([]))
    assert (first["image"], int(first["label"]), float(first["weight"])) == (b"\x00pixels", 7, 2.0)
    np.testing.assert_array_equal(first["boxes"], np.arange(8).reshape(2, 4))
    assert second["boxes"].shape == (0, 4) and float(second["weight"]) == 0.5


def test_an_example_that_lacks_a_feature_fails_with_its_name(path):
    with pytest.raises(tf.errors.InvalidArgumentError, match="mask"):
        _read(path, _serialized([]), features={"mask": {"dtype": "string", "shape": []}})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "isn't JSON"),
        ("[]", "names no feature"),
        ('{"a": "int64"}', "'a' is \"int64\"; expected an object with dtype and shape"),
        ('{"a": {"dtype": "int64", "shape": [], "size": 1}}', "expected an object with dtype"),
        ('{"a": {"dtype": "int32", "shape": []}}', "dtype 'int32'; expected one of string, int64"),
        ('{"a": {"dtype": "int64", "shape": [2, null]}}', r"shape \[2, null\]; expected a list of"),
        ('{"a": {"dtype": "int64", "shape": [0]}}', "expected a list of positive numbers"),
        ('{"a": {"dtype": "int64", "shape": 3}}', "expected a list of positive numbers"),
        ('{"a": {"dtype": "int64", "shape": [null], "default": 1}}', "a default; expected one"),
    ],
)
def test_a_description_that_is_none_is_refused(path, content, reason):
    path.write_text(content)
    with pytest.raises(ConfigError, match=f"features.json.*{reason}"):
        tf_example.parsed(str(path))


def test_a_description_that_is_missing_is_refused_with_an_example(path):
    with pytest.raises(ConfigError, match=r"features.json can't be read.*\"dtype\": \"string\""):
        tf_example.parsed(str(path))
