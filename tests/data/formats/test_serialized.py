import numpy as np
import pytest
import tensorflow as tf

from tfscale.data.formats.serialized import parsed, serialized

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
