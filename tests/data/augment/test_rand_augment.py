"""RandAugment's changes are Pillow's where Pillow has them, and each is drawn as often."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from tfscale.data.augment.rand_augment import affine, changes_of, rand_augment
from tfscale.errors import ConfigError

RNG = np.random.default_rng(0)
IMAGES = {
    "any": RNG.integers(0, 256, (24, 31, 3), dtype=np.uint8),
    "pale": RNG.integers(90, 170, (24, 31, 3), dtype=np.uint8),
    "grey": RNG.integers(30, 200, (24, 31, 1), dtype=np.uint8),
    "one_value": np.full([24, 31, 3], 77, np.uint8),
}


def _enhanced(kind):
    return lambda image, strength, sign: kind(image).enhance(1.0 + sign * 0.9 * strength)


PILLOW = {
    "brightness": _enhanced(ImageEnhance.Brightness),
    "colour": _enhanced(ImageEnhance.Color),
    "contrast": _enhanced(ImageEnhance.Contrast),
    "sharpness": _enhanced(ImageEnhance.Sharpness),
    "posterize": lambda image, strength, sign: ImageOps.posterize(image, 8 - round(4 * strength)),
    "solarize": lambda image, strength, sign: ImageOps.solarize(image, round(255 * (1 - strength))),
    "autocontrast": lambda image, strength, sign: ImageOps.autocontrast(image),
    "equalize": lambda image, strength, sign: ImageOps.equalize(image),
    "identity": lambda image, strength, sign: image,
}


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
@pytest.mark.parametrize("name", PILLOW)
def test_a_change_of_colours_is_that_of_pillow(name, image):
    for strength, sign in ((0.3, 1.0), (0.8, -1.0)):
        made = changes_of(strength, tf.constant(sign), 0)[name](tf.constant(image))
        given = Image.fromarray(image if image.shape[2] == 3 else image[..., 0])
        expected = np.asarray(PILLOW[name](given, strength, sign)).reshape(image.shape)
        # Pillow cuts off what is behind the point, and its grey may be one off.
        assert np.abs(made.numpy().astype(int) - expected).max() <= 1


def _changed(name, image, *, strength=1.0, sign=1.0, fill=0):
    return changes_of(strength, tf.constant(sign), fill)[name](tf.constant(image)).numpy()


def test_what_moves_has_a_name_here():
    assert set(changes_of(0.5, tf.constant(1.0), 0)) - set(PILLOW) == {
        *("shear x", "shear y", "shift x", "shift y", "rotate")
    }


def test_a_shift_moves_by_its_share_of_a_side_and_fills_what_comes_in():
    image = np.zeros([31, 331, 1], np.uint8)
    image[15, 160] = 200
    for sign, column in ((1.0, 10), (-1.0, 310)):
        made = _changed("shift x", image, sign=sign, fill=7)
        assert made[15, column] == 200
        assert set(np.unique(made)) == {0, 7, 200}
        assert (made == 7).sum() == 31 * 150


def test_a_rotation_turns_about_the_centre_by_its_angle():
    image = np.zeros([41, 41, 1], np.uint8)
    image[20, 18:23], image[20, 35] = 100, 250
    for sign in (1.0, -1.0):
        made = _changed("rotate", image, sign=sign)
        assert made[20, 20] == 100
        row, column = np.unravel_index(made[..., 0].argmax(), made.shape[:2])
        angle = np.degrees(np.arctan2(row - 20, column - 20))
        assert abs(angle + sign * 30) < 4
        assert abs(np.hypot(row - 20, column - 20) - 15) < 1


@pytest.mark.parametrize(("name", "axis"), [("shear x", 1), ("shear y", 0)])
def test_a_shear_moves_rows_or_columns_by_their_distance_from_the_centre(name, axis):
    image = np.zeros([41, 41, 1], np.uint8)
    image[20 if axis == 0 else slice(None), 20 if axis == 1 else slice(None)] = 200
    made = _changed(name, image, strength=1.0)[..., 0]
    made = made if axis == 1 else made.T
    centres = (made @ np.arange(41)) / made.sum(axis=1)
    np.testing.assert_allclose(np.diff(centres), -0.3, atol=0.02)
    assert centres[20] == 20


def test_an_affine_change_of_nothing_changes_nothing():
    image = tf.constant(IMAGES["any"])
    np.testing.assert_array_equal(affine(image, (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), 9), image)


def test_every_change_is_drawn_about_as_often():
    seeds = np.random.default_rng(3).integers(0, 2**31, (400, 2)).astype(np.int32)
    image = tf.constant(IMAGES["pale"])
    data = tf.data.Dataset.from_tensor_slices(seeds)
    made = data.map(lambda seed: rand_augment(image, seed, num_ops=1, strength=0.7))
    known = {}
    for sign in (1.0, -1.0):
        for name, change in changes_of(0.7, tf.constant(sign), 0).items():
            known[change(image).numpy().tobytes()] = name
    found = [known[one.tobytes()] for one in made.as_numpy_iterator()]
    counts = [found.count(name) for name in PILLOW]
    assert len(set(found)) == 14
    assert min(counts) >= 12
    assert max(counts) <= 50


def test_two_changes_are_two():
    image = tf.constant(IMAGES["any"])
    differ = [
        (rand_augment(image, [1, n], num_ops=1) != rand_augment(image, [1, n])).numpy().any()
        for n in range(8)
    ]
    assert sum(differ) >= 4
    assert (rand_augment(image, [1, 2], num_ops=0) == image).numpy().all()


@pytest.mark.parametrize(
    ("image", "strength", "words"),
    [
        (IMAGES["any"] / np.float32(255), 0.3, "Call it before pixels are scaled"),
        (np.zeros([4, 4, 2], np.uint8), 0.3, "1 or 3"),
        (IMAGES["any"], 9, "strength=9; expected 0 to 1"),
    ],
)
def test_what_it_cannot_take_is_refused(image, strength, words):
    with pytest.raises(ConfigError, match=words):
        rand_augment(image, [1, 2], strength=strength)
