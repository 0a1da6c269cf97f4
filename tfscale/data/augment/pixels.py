"""What an image may be, and its pixels as numbers to calculate with and back."""

import tensorflow as tf

from tfscale.errors import ConfigError


def require_image(image: tf.Tensor, caller: str) -> tf.Tensor:
    """The image as a tensor.

    Args:
        image: (height, width, channels), uint8 in 0..255 or floats in 0..1.
        caller: the function that was called, for the message.

    Raises:
        ConfigError: it is of another rank, or of another dtype.
    """
    image = tf.convert_to_tensor(image)
    if image.shape.rank not in (None, 3):
        raise ConfigError(
            f"{caller} got an image of shape {image.shape}; expected (height, width, channels). "
            "A grey image without channels gets one with image[..., tf.newaxis]."
        )
    if image.dtype != tf.uint8 and not image.dtype.is_floating:
        raise ConfigError(
            f"{caller} got an image of {image.dtype.name}; expected uint8 in 0..255 or floats in "
            "0..1. Use tf.cast."
        )
    return image


def in_unit_range(image: tf.Tensor) -> tf.Tensor:
    """The pixels as floats in 0..1: what is uint8 is divided by 255."""
    return tf.cast(image, tf.float32) / 255.0 if image.dtype == tf.uint8 else image


def from_unit_range(pixels: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """The way back: clipped to 0..1, and rounded to 0..255 where the dtype is uint8."""
    clipped = tf.clip_by_value(pixels, 0.0, 1.0)
    return rounded(clipped * 255.0, dtype) if dtype == tf.uint8 else tf.cast(clipped, dtype)


def rounded(pixels: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Calculated pixels in their image's own dtype and range."""
    return tf.saturate_cast(tf.round(pixels), dtype) if dtype.is_integer else tf.cast(pixels, dtype)


def resized_part(
    image: tf.Tensor,
    begin: tf.Tensor,
    extent: tf.Tensor,
    size: tuple[int, int],
    method: str = "bilinear",
) -> tf.Tensor:
    """A part of the image, cut out and then `resized`.

    Args:
        image: (height, width, channels).
        begin: int32 (3,), where the part begins.
        extent: int32 (3,), how long it is; -1 means up to the end.
        size: height and width.
        method: of `tf.image.resize`.
    """
    part = tf.slice(image, begin, extent)
    part.set_shape([None, None, image.shape[2]])
    return resized(part, size, method)


def resized(image: tf.Tensor, size: tuple[int, int], method: str) -> tf.Tensor:
    """The image at another size, in its own dtype.

    Args:
        image: (height, width, channels).
        size: height and width.
        method: of `tf.image.resize`, such as "bilinear" or "bicubic"; the latter may leave the
            range of floats.
    """
    return rounded(tf.image.resize(image, size, method), image.dtype)
