import numpy as np
import pytest
import tensorflow as tf

from tfscale.data.splits import _described

IMAGES = np.random.default_rng(0).random((8, 4, 4, 3), dtype=np.float32)
LABELS = np.arange(8)


def _of(images=IMAGES, labels=LABELS, texts=("a", "b")):
    return _described(
        (tf.constant(images), {"label": tf.constant(labels), "t": tf.constant(texts)})
    )


def test_what_another_processor_rounds_otherwise_is_described_alike():
    noise = 1e-5 * np.random.default_rng(1).standard_normal(IMAGES.shape).astype(np.float32)
    assert _of(IMAGES + noise) == _of()


@pytest.mark.parametrize(
    "other",
    [
        {"images": 2 * IMAGES},
        {"images": IMAGES - 0.5},
        {"labels": (LABELS + 1) % 8},
        {"labels": LABELS[::-1].copy()},
        {"texts": ("a", "c")},
        {"images": np.zeros_like(IMAGES)},
        {"images": np.full_like(IMAGES, np.nan)},
    ],
    ids=str,
)
def test_other_examples_are_described_otherwise(other):
    assert _of(**other) != _of()


def test_numbers_of_any_kind_can_be_described():
    for dtype in (tf.bfloat16, tf.float16, tf.float64, tf.bool, tf.uint8, tf.complex64):
        assert _described(tf.cast(IMAGES > 0.5, dtype)) == _described(tf.cast(IMAGES > 0.5, dtype))
