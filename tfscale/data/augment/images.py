"""Crops, flips, colours and erasing: each of an image and the seed that `preprocess` is given.

An image is (height, width, channels), uint8 in 0..255 or floats in 0..1, and comes back in the
same dtype and range. tf.data runs them on the CPU, where the numbers of a seed are the same on
every machine. They come as they are, not converted by AutoGraph, which takes longer than tracing.
"""

import math
from collections.abc import Callable

import tensorflow as tf

from tfscale.data.augment.draws import derived, happens, uniform
from tfscale.data.augment.pixels import (
    from_unit_range,
    in_unit_range,
    require_image,
    resized,
    resized_part,
    rounded,
)
from tfscale.data.images import decode
from tfscale.errors import ConfigError

Limits = tuple[float, float]

_AREA, _RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


@tf.autograph.experimental.do_not_convert
def random_resized_crop(
    image: tf.Tensor,
    seed: tf.Tensor,
    size: tuple[int, int],
    area: Limits = _AREA,
    ratio: Limits = _RATIO,
    method: str = "bilinear",
) -> tf.Tensor:
    """Cuts out a part of random size, shape and place, and resizes it.

    The way to train on ImageNet (Szegedy et al., "Going deeper with convolutions", 2015), with
    TensorFlow's `stateless_sample_distorted_bounding_box`.

    Args:
        image: (height, width, channels), uint8 or floats.
        seed: int32 (2,).
        size: height and width of the result.
        area: least and largest share of the image's area.
        ratio: least and largest width / height of the part.
        method: of `tf.image.resize`.

    Returns:
        (*size, channels), of the image's dtype.

    Raises:
        ConfigError: it is no image.
    """
    image = require_image(image, "random_resized_crop")
    begin, extent = _window(tf.shape(image), seed, area, ratio)
    return resized_part(image, begin, extent, size, method)


@tf.autograph.experimental.do_not_convert
def decode_random_resized_crop(
    data: tf.Tensor,
    seed: tf.Tensor,
    size: tuple[int, int],
    area: Limits = _AREA,
    ratio: Limits = _RATIO,
    method: str = "bilinear",
) -> tf.Tensor:
    """`random_resized_crop` of an encoded image; of a JPEG only that part is decoded.

    Args:
        data: string scalar, the bytes of a JPEG, PNG, BMP or GIF (its first picture).
        seed: int32 (2,).
        size: height and width of the result.
        area: least and largest share of the image's area.
        ratio: least and largest width / height of the part.
        method: of `tf.image.resize`.

    Returns:
        uint8 (*size, 3).
    """

    def of_jpeg() -> tf.Tensor:
        begin, extent = _window(tf.image.extract_jpeg_shape(data), seed, area, ratio)
        part = tf.image.decode_and_crop_jpeg(
            data, tf.concat([begin[:2], extent[:2]], axis=0), channels=3
        )
        return resized(part, size, method)

    def of_others() -> tf.Tensor:
        image = decode(data)
        return random_resized_crop(image, seed, size, area, ratio, method)

    return tf.ensure_shape(tf.cond(tf.io.is_jpeg(data), of_jpeg, of_others), [*size, 3])


@tf.autograph.experimental.do_not_convert
def random_shift(image: tf.Tensor, seed: tf.Tensor, pixels: int) -> tf.Tensor:
    """Moves an image by up to so many pixels each way; black comes in from the sides.

    The way to train on CIFAR with 4 pixels (He et al., "Deep residual learning", 2016).

    Args:
        image: (height, width, channels), uint8 or floats.
        seed: int32 (2,).
        pixels: the most.

    Raises:
        ConfigError: it is no image.
    """
    image = require_image(image, "random_shift")
    padded = tf.pad(image, [[pixels, pixels], [pixels, pixels], [0, 0]])
    moved = tf.image.stateless_random_crop(padded, tf.shape(image), derived(seed, "shift"))
    return tf.ensure_shape(moved, image.shape)


@tf.autograph.experimental.do_not_convert
def random_flip(
    image: tf.Tensor, seed: tf.Tensor, horizontal: bool = True, vertical: bool = False
) -> tf.Tensor:
    """Mirrors half of all images left to right, and if asked for half of them upside down.

    Args:
        image: (height, width, channels), uint8 or floats.
        seed: int32 (2,).
        horizontal: whether left and right may change places.
        vertical: whether top and bottom may.

    Raises:
        ConfigError: it is no image.
    """
    image = require_image(image, "random_flip")
    if horizontal:
        image = _maybe(is_mirrored(seed), image, tf.image.flip_left_right)
    if vertical:
        image = _maybe(is_upside_down(seed), image, tf.image.flip_up_down)
    return image


def is_mirrored(seed: tf.Tensor) -> tf.Tensor:
    """Whether `random_flip` mirrors the image of this seed left to right: a bool scalar."""
    return happens(seed, 0.5, "flip left to right")


def is_upside_down(seed: tf.Tensor) -> tf.Tensor:
    """Whether `random_flip` turns the image of this seed upside down: a bool scalar."""
    return happens(seed, 0.5, "flip upside down")


@tf.autograph.experimental.do_not_convert
def colour_jitter(
    image: tf.Tensor,
    seed: tf.Tensor,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.4,
    hue: float = 0.1,
) -> tf.Tensor:
    """Changes brightness, contrast, saturation and hue, in this order.

    Args:
        image: (height, width, channels), uint8 in 0..255 or floats in 0..1.
        seed: int32 (2,).
        brightness: pixels are multiplied by 1 - brightness to 1 + brightness.
        contrast: the same of their distance from each channel's mean.
        saturation: the same of the colours' saturation; 0 for images without colours.
        hue: the hue turns by -hue to hue of a full turn, at most 0.5; 0 for images without colours.

    Returns:
        The image in its dtype and range, to which it was clipped at the end.

    Raises:
        ConfigError: it is no image, or has no colours that could change.
    """
    image = require_image(image, "colour_jitter")
    if (saturation or hue) and image.shape[2] not in (None, 3):
        raise ConfigError(
            f"colour_jitter got an image of shape {image.shape}; expected 3 channels to change "
            "saturation and hue. Give saturation=0, hue=0."
        )
    pixels = in_unit_range(image)
    if brightness:
        pixels *= tf.cast(_around_one(seed, brightness, "brightness"), pixels.dtype)
    if contrast:
        pixels = tf.image.adjust_contrast(pixels, _around_one(seed, contrast, "contrast"))
    if saturation or hue:
        pixels = tf.clip_by_value(pixels, 0.0, 1.0)  # what else has no hue
    if saturation:
        pixels = tf.image.adjust_saturation(pixels, _around_one(seed, saturation, "saturation"))
    if hue:
        pixels = tf.image.adjust_hue(pixels, uniform(seed, -hue, hue, "hue"))
    return from_unit_range(pixels, image.dtype)


@tf.autograph.experimental.do_not_convert
def random_erasing(
    image: tf.Tensor,
    seed: tf.Tensor,
    probability: float = 0.25,
    area: Limits = (0.02, 1 / 3),
    ratio: Limits = (0.3, 10 / 3),
    value: float | None = None,
) -> tf.Tensor:
    """Covers a random rectangle of some images (Zhong et al., "Random erasing", 2020).

    Args:
        image: (height, width, channels), uint8 or floats.
        seed: int32 (2,).
        probability: share of the images in which something is covered.
        area: least and largest share of the image's area; a rectangle that is higher or wider
            than the image is cut down to it.
        ratio: least and largest height / width of the rectangle.
        value: what every pixel of it gets; None gives each a random one, in 0..255 for uint8 and
            in 0..1 for floats.

    Raises:
        ConfigError: it is no image.
    """
    image = require_image(image, "random_erasing")
    is_wanted = happens(seed, probability, "erased at all")
    return _maybe(is_wanted, image, lambda image: _erased(image, seed, area, ratio, value))


def _erased(
    image: tf.Tensor, seed: tf.Tensor, area: Limits, ratio: Limits, value: float | None
) -> tf.Tensor:
    shape = tf.shape(image)
    sides = tf.cast(shape[:2], tf.float32)
    share = uniform(seed, *area, "erased area")
    shape_ratio = tf.exp(uniform(seed, math.log(ratio[0]), math.log(ratio[1]), "erased ratio"))
    extent = tf.sqrt(share * sides[0] * sides[1] * tf.stack([shape_ratio, 1.0 / shape_ratio]))
    extent = tf.minimum(tf.round(extent), sides)
    places = tf.random.stateless_uniform([2], derived(seed, "erased place"))
    first = tf.floor(places * (sides - extent + 1.0))
    rows, columns = (
        _within(shape[axis], first[axis], first[axis] + extent[axis]) for axis in range(2)
    )
    covered = rows[:, tf.newaxis, tf.newaxis] & columns[tf.newaxis, :, tf.newaxis]
    if value is None:
        noise = tf.random.stateless_uniform(shape, derived(seed, "erased pixels"))
        filling = from_unit_range(noise, image.dtype)
    else:
        filling = rounded(tf.constant(value, tf.float32), image.dtype)
    return tf.ensure_shape(tf.where(covered, filling, image), image.shape)


def _window(
    shape: tf.Tensor, seed: tf.Tensor, area: Limits, ratio: Limits
) -> tuple[tf.Tensor, tf.Tensor]:
    """First row and column and their number, each int32 (3,), as `tf.slice` takes them."""
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        shape,
        bounding_boxes=tf.zeros([1, 0, 4]),
        seed=derived(seed, "crop"),
        min_object_covered=0.0,
        aspect_ratio_range=ratio,
        area_range=area,
        use_image_if_no_bounding_boxes=True,
    )
    return begin, extent


def _maybe(
    is_wanted: tf.Tensor, image: tf.Tensor, change: Callable[[tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    return tf.cond(is_wanted, lambda: change(image), lambda: image)


def _around_one(seed: tf.Tensor, most: float, purpose: str) -> tf.Tensor:
    return uniform(seed, max(0.0, 1.0 - most), 1.0 + most, purpose)


def _within(length: tf.Tensor, first: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
    places = tf.cast(tf.range(length), tf.float32)
    return (places >= first) & (places < end)
