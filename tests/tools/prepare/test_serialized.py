import json
from collections import namedtuple

import numpy as np
import pytest
import tensorflow as tf

from tfscale.data.formats.prepared import from_json, parsed
from tfscale.errors import ConfigError
from tools.prepare.serialized import serialized, to_json

IMAGE = tf.TensorSpec([None, None, 3], tf.uint8)
LABEL = tf.TensorSpec([], tf.int64)

RECORDS = {
    "numbers": lambda: tf.data.Dataset.range(300),
    "a tuple": lambda: tf.data.Dataset.from_tensor_slices((np.eye(3, dtype=np.float32), [1, 2, 3])),
    "a dict": lambda: tf.data.Dataset.from_tensor_slices(
        {"yes": [True, False], "text": [b"\0", b""], "in": {"half": np.ones((2, 2), np.float16)}}
    ),
    "shapes that differ": lambda: tf.data.Dataset.range(4).map(
        lambda n: {"box": tf.zeros([n, 4], tf.bfloat16), "n": n}
    ),
    "texts": lambda: tf.data.Dataset.from_tensor_slices([b"a\0", b"", b"\xff"]),
}


@pytest.mark.parametrize("make", RECORDS.values(), ids=RECORDS)
def test_records_come_back_as_they_were(make):
    records = make()
    spec = records.element_spec
    texts = list(serialized(records))
    back = tf.data.Dataset.from_tensor_slices(texts).map(lambda text: parsed(text, spec))
    assert back.element_spec == spec
    for found, record in zip(back, records, strict=True):
        tf.nest.assert_same_structure(found, record)
        for one, other in zip(tf.nest.flatten(found), tf.nest.flatten(record), strict=True):
            np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_one_string_is_its_own_bytes():
    assert list(serialized(RECORDS["texts"]())) == [b"a\0", b"", b"\xff"]


def test_a_record_is_an_example_with_a_feature_for_each_part():
    (first, _) = serialized(RECORDS["a dict"]())
    assert sorted(tf.train.Example.FromString(first).features.feature) == [
        "in/half",
        "text",
        "yes",
    ]


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
