"""Boxes go where their pixels go."""

import numpy as np
import pytest
import tensorflow as tf

from tfscale.data.augment.boxes import random_crop_with_boxes, random_flip_with_boxes
from tfscale.errors import ConfigError

HEIGHT, WIDTH = 60, 80
SEEDS = np.random.default_rng(2).integers(0, 2**31, (60, 2)).astype(np.int32)
# In pixels; each is painted in a channel of its own.
BOXES = np.array([[6, 8, 30, 40], [36, 44, 54, 72], [12, 56, 24, 76]], np.float32)


def _example():
    image = np.zeros([HEIGHT, WIDTH, 3], np.uint8)
    for channel, (y_min, x_min, y_max, x_max) in enumerate(BOXES.astype(int)):
        image[y_min:y_max, x_min:x_max, channel] = 255
    boxes = np.zeros([5, 4], np.float32)
    boxes[[0, 2, 3]] = BOXES / [HEIGHT, WIDTH, HEIGHT, WIDTH]
    classes = np.array([0, -1, 1, 2, -1])
    y = {"boxes": boxes, "classes": classes, "image_id": np.int64(7), "difficult": classes > 0}
    return image, {name: tf.constant(value) for name, value in y.items()}


def _painted(channel):
    """The box that is painted in a channel, relative; None where there is none."""
    rows, columns = (np.flatnonzero((channel > 127).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return None
    ends = [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]
    return np.array(ends) / np.tile(channel.shape, 2)


def _made(function):
    image, y = _example()
    data = tf.data.Dataset.from_tensor_slices(SEEDS).map(lambda seed: function(image, y, seed))
    return y, data.element_spec, list(data.as_numpy_iterator())


def test_a_flip_takes_the_boxes_along():
    y, spec, made = _made(lambda *example: random_flip_with_boxes(*example, vertical=True))
    assert spec[1]["boxes"].shape == (5, 4)
    seen = set()
    for image, labels in made:
        for number, row in enumerate((0, 2, 3)):
            np.testing.assert_allclose(
                _painted(image[..., number]), labels["boxes"][row], atol=1e-6
            )
        np.testing.assert_array_equal(labels["boxes"][[1, 4]], 0.0)
        np.testing.assert_array_equal(labels["classes"], y["classes"])
        seen.add(tuple(labels["boxes"][0].round(3)))
    assert len(seen) == 4


def test_a_crop_takes_the_boxes_along_and_gives_up_what_is_hardly_seen():
    size = (90, 120)
    y, spec, made = _made(lambda *example: random_crop_with_boxes(*example, size))
    assert spec[0] == tf.TensorSpec([*size, 3], tf.uint8)
    assert spec[1] == tf.nest.map_structure(tf.TensorSpec.from_tensor, y)
    kept = given_up = 0
    for image, labels in made:
        assert (labels["classes"] >= 0).any()
        np.testing.assert_array_equal(labels["difficult"], y["difficult"])
        for number, row in enumerate((0, 2, 3)):
            if labels["classes"][row] < 0:
                np.testing.assert_array_equal(labels["boxes"][row], 0.0)
                given_up += 1
                continue
            assert labels["classes"][row] == number
            np.testing.assert_allclose(
                _painted(image[..., number]), labels["boxes"][row], atol=0.04
            )
            kept += 1
    assert kept > 60
    assert given_up > 10


@pytest.mark.parametrize("min_visible", [0.3, 1.0])
def test_a_box_stays_if_enough_of_it_is_seen(min_visible):
    _, y = _example()
    places = np.stack(np.broadcast_arrays(*np.ogrid[0:HEIGHT, 0:WIDTH]), axis=-1).astype(np.float32)
    cut = random_crop_with_boxes
    made = [cut(places, y, seed, (HEIGHT, WIDTH), min_visible=min_visible) for seed in SEEDS[:30]]
    for image, labels in made:
        # The outermost pixels of an enlarged part are its own.
        window = np.concatenate([image[0, 0], image[-1, -1] + 1.0])
        for number, row in enumerate((0, 2, 3)):
            box = BOXES[number]
            sides = np.minimum(box, window)[2:] - np.maximum(box, window)[:2]
            share = np.prod(sides.clip(0.0)) / np.prod(box[2:] - box[:2])
            assert (labels["classes"][row] >= 0) == (share > min_visible - 1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_an_image_without_boxes_is_cut_too(dtype):
    y = {"boxes": tf.zeros([2, 4]), "classes": tf.constant([-1, -1])}
    image = np.ones([20, 30, 1], dtype)
    made, labels = random_crop_with_boxes(image, y, SEEDS[0], (8, 8))
    assert (made.shape, made.dtype) == ((8, 8, 1), dtype)
    assert labels["classes"].numpy().tolist() == [-1, -1]


@pytest.mark.parametrize("y", [tf.constant(3), {"boxes": tf.zeros([1, 4])}])
@pytest.mark.parametrize(
    "function",
    [random_flip_with_boxes, lambda *example: random_crop_with_boxes(*example, (4, 4))],
)
def test_a_y_without_boxes_and_classes_is_refused(function, y):
    with pytest.raises(ConfigError, match='expected a dict with "boxes"'):
        function(np.zeros([4, 4, 3], np.uint8), y, SEEDS[0])


def test_a_share_that_no_box_can_have_is_refused():
    with pytest.raises(ConfigError, match="min_visible=0"):
        random_crop_with_boxes(*_example(), SEEDS[0], (4, 4), min_visible=0)
