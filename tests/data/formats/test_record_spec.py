import json
from collections import namedtuple

import pytest
import tensorflow as tf

from tfscale.data.formats.record_spec import from_json, is_plain, names_of, to_json
from tfscale.errors import ConfigError

IMAGE = tf.TensorSpec([None, None, 3], tf.uint8)
LABEL = tf.TensorSpec([], tf.int64)


@pytest.mark.parametrize(
    "spec",
    [
        LABEL,
        (IMAGE, LABEL),
        {"image": IMAGE, "boxes": {"x": tf.TensorSpec([None, 4], tf.bfloat16), "label": (LABEL,)}},
        {"any": tf.TensorSpec(None, tf.string), "yes": tf.TensorSpec([2], tf.bool)},
        (),
    ],
)
def test_a_structure_survives_json(spec):
    assert from_json(json.loads(json.dumps(to_json(spec)))) == spec


@pytest.mark.parametrize(
    "spec",
    [
        tf.SparseTensorSpec([3], tf.int64),
        {"a": tf.RaggedTensorSpec([None], tf.int64)},
        {3: LABEL},
        namedtuple("Example", "x y")(IMAGE, LABEL),
    ],
)
def test_what_json_cannot_say_is_refused(spec):
    with pytest.raises(ConfigError, match="expected dense tensors, in dicts by names"):
        to_json(spec)


@pytest.mark.parametrize("said", [None, {}, {"shape": [3]}, {"dtype": "uint3", "shape": []}])
def test_a_spec_that_is_none_is_refused(said):
    with pytest.raises(ConfigError, match="can't be understood"):
        from_json(said)


def test_names_are_in_the_order_of_the_tensors():
    spec = {"b": LABEL, "a": (IMAGE, {"c": LABEL})}
    assert names_of(spec) == ["a/0", "a/1/c", "b"]
    assert tf.nest.flatten(tf.nest.pack_sequence_as(spec, names_of(spec))) == names_of(spec)
    assert names_of(LABEL) == ["record"]


def test_parts_that_would_have_the_same_name_are_refused():
    with pytest.raises(ConfigError, match="two parts that are called 'a/b'"):
        names_of({"a": {"b": LABEL}, "a/b": LABEL})


def test_one_string_is_stored_as_it_is():
    assert is_plain(tf.TensorSpec([], tf.string))
    assert not is_plain(tf.TensorSpec([1], tf.string))
    assert not is_plain((tf.TensorSpec([], tf.string),))
