"""RandAugment: some of fourteen changes, one after the other, all of one strength.

Keras's own layer of that name draws from a generator that it counts up itself, whatever seed it is
given, so that it can't be made a function of the example; it also computes every change for each
image. Here only those that were drawn are computed. What each change does at which strength is as
in torchvision, whose colours are Pillow's.
"""

import math
from collections.abc import Callable

import keras
import tensorflow as tf

from tfscale.data.augment.draws import derived, happens
from tfscale.data.augment.pixels import require_image, rounded
from tfscale.errors import ConfigError

Change = Callable[[tf.Tensor], tf.Tensor]

_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601
_SHEAR, _SHIFT, _DEGREES = 0.3, 150 / 331, 30.0  # at strength 1; shifts are shares of a side
_BLEND, _BITS = 0.9, 4


@tf.autograph.experimental.do_not_convert
def rand_augment(
    image: tf.Tensor, seed: tf.Tensor, num_ops: int = 2, strength: float = 0.3, fill: int = 0
) -> tf.Tensor:
    """Draws changes, the same one more than once if it comes so, and does them in turn.

    The changes: none, shear and shift along x and y, rotate, brightness, colour, contrast,
    sharpness, posterize, solarize, autocontrast, equalize. Those that have two directions go in
    either. Source: Cubuk et al., "RandAugment", 2020.

    Args:
        image: uint8 (height, width, channels) in 0..255, 1 or 3 channels.
        seed: int32 (2,).
        num_ops: how many.
        strength: 0 to 1; the paper's magnitude M of 30 is M / 30.
        fill: what comes in from outside of the image, 0 to 255.

    Returns:
        uint8, of the same shape.

    Raises:
        ConfigError: it is another kind of image, or the strength is out of its range.
    """
    image = require_image(image, "rand_augment")
    if image.dtype != tf.uint8 or image.shape[2] not in (1, 3):
        raise ConfigError(
            f"rand_augment got {image.dtype.name} of shape {image.shape}; expected uint8 (height, "
            "width, 1 or 3). Call it before pixels are scaled."
        )
    if not 0.0 <= strength <= 1.0:
        raise ConfigError(
            f"rand_augment got strength={strength}; expected 0 to 1. A magnitude of 9 is 9 / 30."
        )
    own = derived(seed, "rand_augment")

    # A loop, in which each change is traced once and not once for each time it may be drawn.
    def after_one_more(number: tf.Tensor, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        of_one = tf.random.experimental.stateless_fold_in(own, number)
        sign = tf.where(happens(of_one, 0.5, "direction"), 1.0, -1.0)
        changes = changes_of(strength, sign, fill)
        chosen = derived(of_one, "change")
        chosen = tf.random.stateless_uniform([], chosen, 0, len(changes), tf.int32)
        changed = tf.switch_case(chosen, [_on(image, change) for change in changes.values()])
        return number + 1, tf.ensure_shape(changed, image.shape)

    start = (tf.constant(0), image)
    _, image = tf.while_loop(lambda *_: True, after_one_more, start, maximum_iterations=num_ops)
    return image


def changes_of(strength: float, sign: tf.Tensor, fill: int) -> dict[str, Change]:
    """Every change by its name; each makes an image of an image, uint8 (height, width, channels).

    Args:
        strength: 0 to 1.
        sign: 1 or -1, the direction of those that have two; float32 scalar.
        fill: what comes in from outside of the image, 0 to 255.
    """
    shear, angle = strength * _SHEAR * sign, strength * math.radians(_DEGREES) * sign
    shift, factor = strength * _SHIFT * sign, 1.0 + strength * _BLEND * sign
    cos, sin = tf.cos(angle), tf.sin(angle)

    def moved(x_of: tuple[tf.Tensor | float, ...], y_of: tuple[tf.Tensor | float, ...]) -> Change:
        return lambda image: affine(image, x_of, y_of, fill)

    return {
        "identity": lambda image: image,
        "shear x": moved((1.0, shear, 0.0), (0.0, 1.0, 0.0)),
        "shear y": moved((1.0, 0.0, 0.0), (shear, 1.0, 0.0)),
        "shift x": moved((1.0, 0.0, shift), (0.0, 1.0, 0.0)),
        "shift y": moved((1.0, 0.0, 0.0), (0.0, 1.0, shift)),
        "rotate": moved((cos, -sin, 0.0), (sin, cos, 0.0)),
        "brightness": lambda image: _blend(tf.zeros_like(image, tf.float32), image, factor),
        "colour": lambda image: _blend(_grey(image), image, factor),
        "contrast": lambda image: _blend(tf.round(tf.reduce_mean(_grey(image))), image, factor),
        "sharpness": lambda image: _blend(_smooth(image), image, factor),
        "posterize": lambda image: _posterize(image, 8 - round(strength * _BITS)),
        "solarize": lambda image: _solarize(image, round(255 * (1.0 - strength))),
        "autocontrast": _autocontrast,
        "equalize": _equalize,
    }


def affine(
    image: tf.Tensor,
    x_of: tuple[tf.Tensor | float, ...],
    y_of: tuple[tf.Tensor | float, ...],
    fill: int,
) -> tf.Tensor:
    """An image in which each pixel is fetched from another place, between pixels bilinearly.

    Args:
        image: uint8 (height, width, channels).
        x_of: `(a, b, c)`: x = a x' + b y' + c of the place that x', y' is fetched from, where x
            and y are counted from the centre, in pixels, and c in widths.
        y_of: the same for y, c in heights.
        fill: what lies outside.
    """
    height, width = (tf.cast(tf.shape(image)[axis], tf.float32) for axis in range(2))
    x_centre, y_centre = (width - 1.0) / 2.0, (height - 1.0) / 2.0
    (a, b, c), (d, e, f) = x_of, y_of
    transform = tf.stack(
        [
            *(a, b, x_centre - a * x_centre - b * y_centre + c * width),
            *(d, e, y_centre - d * x_centre - e * y_centre + f * height),
            *(0.0, 0.0),
        ]
    )
    pixels = keras.ops.image.affine_transform(
        tf.cast(image, tf.float32),
        transform,
        interpolation="bilinear",
        fill_mode="constant",
        fill_value=fill,
        data_format="channels_last",
    )
    return rounded(pixels, tf.uint8)


def _on(image: tf.Tensor, change: Change) -> Callable[[], tf.Tensor]:
    return lambda: change(image)


def _blend(other: tf.Tensor, image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """The other image at factor 0, the image at 1, and beyond it above."""
    return rounded(other + factor * (tf.cast(image, tf.float32) - other), tf.uint8)


def _grey(image: tf.Tensor) -> tf.Tensor:
    """Float32 (height, width, 1), whole numbers as in an image."""
    pixels = tf.cast(image, tf.float32)
    if image.shape[2] == 1:
        return pixels
    return tf.round(tf.tensordot(pixels, tf.constant(_GREY), 1))[..., tf.newaxis]


def _smooth(image: tf.Tensor) -> tf.Tensor:
    """The mean of each pixel and its neighbours, itself five times; the border stays as it is."""
    pixels = tf.cast(image, tf.float32)
    kernel = tf.constant([[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0]]) / 13.0
    kernel = tf.tile(kernel[..., tf.newaxis, tf.newaxis], [1, 1, image.shape[2], 1])
    inner = tf.nn.depthwise_conv2d(pixels[tf.newaxis], kernel, [1, 1, 1, 1], "VALID")[0]
    is_inner = tf.pad(tf.ones_like(inner, tf.bool), [[1, 1], [1, 1], [0, 0]])
    return tf.where(is_inner, tf.pad(tf.round(inner), [[1, 1], [1, 1], [0, 0]]), pixels)


def _posterize(image: tf.Tensor, bits: int) -> tf.Tensor:
    return tf.bitwise.bitwise_and(image, tf.constant(256 - 2 ** (8 - bits), tf.uint8))


def _solarize(image: tf.Tensor, threshold: int) -> tf.Tensor:
    return tf.where(tf.cast(image, tf.int32) < threshold, image, 255 - image)


def _autocontrast(image: tf.Tensor) -> tf.Tensor:
    """Each channel stretched to 0..255; one of a single value stays."""
    pixels = tf.cast(image, tf.float32)
    low, high = (reduce(pixels, axis=[0, 1]) for reduce in (tf.reduce_min, tf.reduce_max))
    stretched = (pixels - low) * 255.0 / tf.maximum(high - low, 1.0)
    return rounded(tf.where(high > low, stretched, pixels), tf.uint8)


def _equalize(image: tf.Tensor) -> tf.Tensor:
    """Each channel with its values spread so that all are about as frequent."""
    channels = [_equalized_channel(image[..., number]) for number in range(image.shape[2])]
    return tf.stack(channels, axis=-1)


def _equalized_channel(channel: tf.Tensor) -> tf.Tensor:
    values = tf.cast(channel, tf.int32)
    counts = tf.math.bincount(tf.reshape(values, [-1]), minlength=256, maxlength=256)
    # Pillow's: the most frequent of the values that are there at all doesn't matter, the last does.
    step = (tf.size(values) - counts[tf.reduce_max(values)]) // 255
    below = tf.cumsum(counts, exclusive=True)
    table = tf.minimum((below + step // 2) // tf.maximum(step, 1), 255)
    return tf.cond(step > 0, lambda: tf.cast(tf.gather(table, values), tf.uint8), lambda: channel)
