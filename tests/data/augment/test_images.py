"""Crops, flips, colours and erasing are functions of the image and its seed."""

import numpy as np
import pytest
import tensorflow as tf

from tfscale.data.augment.boxes import random_crop_with_boxes, random_flip_with_boxes
from tfscale.data.augment.images import (
    colour_jitter,
    decode_random_resized_crop,
    random_erasing,
    random_flip,
    random_resized_crop,
    random_shift,
)
from tfscale.data.augment.rand_augment import rand_augment
from tfscale.data.sources.determinism import require_no_draws
from tfscale.errors import ConfigError

SHAPE = (20, 24, 3)
IMAGE = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
# Smooth, so that a JPEG of it is nearly the same.
SMOOTH = np.stack(np.broadcast_arrays(*np.ogrid[0:120:2, 50:210:2], 90), axis=-1).astype(np.uint8)
LABELS = {
    "boxes": tf.constant([[0.1, 0.2, 0.6, 0.7], [0.0, 0.0, 0.0, 0.0]]),
    "classes": tf.constant([3, -1], tf.int64),
}
SEEDS = np.random.default_rng(1).integers(0, 2**31, (200, 2)).astype(np.int32)

FUNCTIONS = {
    "crop": lambda image, seed: random_resized_crop(image, seed, SHAPE[:2]),
    "shift": lambda image, seed: random_shift(image, seed, 4),
    "flip": lambda image, seed: random_flip(image, seed, vertical=True),
    "jitter": colour_jitter,
    "erase": lambda image, seed: random_erasing(image, seed, probability=0.8),
    "flip_with_boxes": lambda image, seed: random_flip_with_boxes(image, LABELS, seed)[0],
    "crop_with_boxes": lambda image, seed: random_crop_with_boxes(image, LABELS, seed, SHAPE[:2])[
        0
    ],
    "rand_augment": lambda image, seed: rand_augment(image, seed, strength=0.6),
}
LEAST_DIFFERENT = {
    "shift": 25,
    "flip": 4,
    "flip_with_boxes": 2,
    "crop_with_boxes": 25,
    "erase": 25,
    "rand_augment": 25,
}


def _made(function, seeds, image=IMAGE):
    data = tf.data.Dataset.from_tensor_slices(seeds).map(lambda seed: function(image, seed))
    return np.stack(list(data.as_numpy_iterator()))


@pytest.mark.parametrize(("name", "function"), FUNCTIONS.items(), ids=FUNCTIONS)
def test_the_seed_alone_decides_in_whatever_order_and_thread(name, function):
    seeds = SEEDS[:40]
    traced = tf.function(lambda seed: function(IMAGE, seed))
    serial = tf.data.Dataset.from_tensor_slices(seeds).map(traced)
    require_no_draws("mine", serial)
    parallel = tf.data.Dataset.from_tensor_slices(seeds[::-1]).map(traced, num_parallel_calls=8)
    made = np.stack(list(serial.as_numpy_iterator()))
    np.testing.assert_array_equal(made, np.stack(list(parallel.as_numpy_iterator()))[::-1])
    np.testing.assert_array_equal(made[3], function(tf.constant(IMAGE), tf.constant(seeds[3])))
    assert len({image.tobytes() for image in made}) >= LEAST_DIFFERENT.get(name, 40)


OF_EACH_DTYPE = [
    (name, dtype)
    for name in FUNCTIONS
    for dtype in (np.uint8, np.float32)
    if name != "rand_augment" or dtype == np.uint8
]


@pytest.mark.parametrize(("name", "dtype"), OF_EACH_DTYPE)
def test_shape_dtype_and_range_stay(name, dtype):
    function = FUNCTIONS[name]
    image = IMAGE if dtype == np.uint8 else (IMAGE / 255.0).astype(dtype)
    data = tf.data.Dataset.from_tensor_slices(SEEDS[:20]).map(lambda seed: function(image, seed))
    assert data.element_spec == tf.TensorSpec(SHAPE, tf.as_dtype(dtype))
    made = np.stack(list(data.as_numpy_iterator()))
    assert made.min() >= 0
    assert made.max() <= (255 if dtype == np.uint8 else 1.0)


def test_a_seed_for_several_functions_gives_each_its_own_numbers():
    flipped = np.stack([random_flip(IMAGE, seed) for seed in SEEDS[:60]])
    mirrored = (flipped == IMAGE[:, ::-1]).all(axis=(1, 2, 3))
    upside_down = np.array(
        [
            bool(tf.reduce_all(random_flip(IMAGE, seed, False, True) == IMAGE[::-1]))
            for seed in SEEDS[:60]
        ]
    )
    both = [np.sum((mirrored == a) & (upside_down == b)) for a in (0, 1) for b in (0, 1)]
    assert min(both) >= 5


def test_a_crop_is_as_large_and_of_the_shape_that_was_asked_for():
    rows, columns = np.meshgrid(np.linspace(0, 1, 60), np.linspace(0, 1, 80), indexing="ij")
    places = np.stack([rows, columns, rows], axis=-1).astype(np.float32)
    made = _made(
        lambda image, seed: random_resized_crop(image, seed, (30, 30), (0.2, 0.6), (0.8, 1.25)),
        SEEDS,
        places,
    )
    # From corner to corner, and what the centres of the outermost pixels lack.
    heights = (made[:, -1, 0, 0] - made[:, 0, 0, 0]) * 59 / 60 * 30 / 29
    widths = (made[:, 0, -1, 1] - made[:, 0, 0, 1]) * 79 / 80 * 30 / 29
    areas, ratios = heights * widths, widths * 80 / (heights * 60)
    assert areas.min() > 0.2 - 0.03
    assert areas.max() < 0.6 + 0.03
    assert areas.min() < 0.25
    assert areas.max() > 0.5
    assert ratios.min() > 0.8 - 0.06
    assert ratios.max() < 1.25 + 0.06


def test_a_jpeg_is_cropped_while_it_is_decoded_as_if_it_had_been_decoded_before():
    data = tf.io.encode_jpeg(SMOOTH, quality=100, chroma_downsampling=False)
    whole = tf.io.decode_jpeg(data, channels=3)
    fused = _made(
        lambda data, seed: decode_random_resized_crop(data, seed, (16, 16)), SEEDS[:20], data
    )
    plain = _made(lambda image, seed: random_resized_crop(image, seed, (16, 16)), SEEDS[:20], whole)
    assert fused.dtype == np.uint8
    assert np.abs(fused.astype(int) - plain).max() <= 1


@pytest.mark.parametrize(
    "encode", [tf.io.encode_png, lambda image: tf.io.encode_jpeg(image[..., :1])]
)
def test_other_pictures_are_decoded_too_and_have_three_channels(encode):
    function = lambda data, seed: decode_random_resized_crop(data, seed, (8, 9))  # noqa: E731
    assert _made(function, SEEDS[:3], encode(SMOOTH)).shape == (3, 8, 9, 3)


def test_a_shift_moves_by_whole_pixels_in_every_direction():
    image = np.zeros([9, 9, 1], np.uint8)
    image[4, 4] = 255
    made = _made(lambda image, seed: random_shift(image, seed, 2), SEEDS, image)
    moves = {tuple(np.argwhere(one[..., 0])[0] - 4) for one in made}
    assert moves == {(row, column) for row in range(-2, 3) for column in range(-2, 3)}


def test_a_flip_mirrors_half_of_the_images_and_leaves_the_others():
    made = _made(random_flip, SEEDS)
    mirrored = (made == IMAGE[:, ::-1]).all(axis=(1, 2, 3))
    assert 70 <= mirrored.sum() <= 130
    assert (made[~mirrored] == IMAGE).all()


@pytest.mark.parametrize("image", [IMAGE, (IMAGE / 255).astype(np.float32)])
def test_colours_that_may_not_change_stay(image):
    np.testing.assert_array_equal(colour_jitter(image, SEEDS[0], 0, 0, 0, 0), image)


def test_each_colour_change_is_within_its_limits():
    grey = np.full([4, 4, 3], 0.4, np.float32)
    made = _made(lambda image, seed: colour_jitter(image, seed, 0.5, 0, 0, 0), SEEDS, grey)
    factors = made[:, 0, 0, 0] / 0.4
    assert 0.5 <= factors.min() < 0.55
    assert 1.45 < factors.max() <= 1.5
    # Neither of the others changes a grey.
    made = _made(lambda image, seed: colour_jitter(image, seed, 0, 0.5, 0.5, 0.5), SEEDS[:9], grey)
    np.testing.assert_allclose(made, 0.4, atol=1e-6)


def test_an_image_without_colours_is_refused_by_what_changes_them():
    grey = IMAGE[..., :1]
    with pytest.raises(ConfigError, match="saturation=0, hue=0"):
        colour_jitter(grey, SEEDS[0])
    assert colour_jitter(grey, SEEDS[0], saturation=0, hue=0).shape == grey.shape


def test_as_many_images_are_erased_as_asked_for_and_each_by_a_rectangle_of_its_size():
    image = np.full([30, 30, 1], 9, np.uint8)
    erase = lambda image, seed: random_erasing(image, seed, 0.5, (0.1, 0.3), value=200)  # noqa: E731
    made = _made(erase, SEEDS, image)[..., 0]
    erased = made != 9
    assert set(np.unique(made)) == {9, 200}
    assert 70 <= erased.any(axis=(1, 2)).sum() <= 130
    for one in erased[erased.any(axis=(1, 2))]:
        height, width = one.any(axis=1).sum(), one.any(axis=0).sum()
        assert one.sum() == height * width
        assert 0.06 <= one.mean() <= 0.34


def test_what_is_erased_may_be_anywhere():
    image = np.zeros([12, 12, 1], np.float32)
    made = _made(lambda image, seed: random_erasing(image, seed, 1.0), SEEDS, image)
    assert (made.max(axis=0) > 0).all()


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize("image", [IMAGE.astype(np.int32), IMAGE[0], IMAGE[np.newaxis]])
def test_what_is_no_image_is_refused_by_name(function, image):
    with pytest.raises(ConfigError, match=r"got .*expected .*(Use|Call|gets)"):
        function(image, SEEDS[0])
