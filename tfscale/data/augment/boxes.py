"""Flips and crops that move boxes along with the image.

The y of an example is a dict with `boxes`, float32 (M, 4) of `(y_min, x_min, y_max, x_max)` in 0 to
1 of the image's sides, and `classes`, an integer tensor (M,); -1 marks a row that only fills up and
has zeros for a box. Whatever else y has is handed on as it came, row by row in the same order.
"""

from typing import Any

import tensorflow as tf

from tfscale.data.augment.draws import derived
from tfscale.data.augment.images import Limits, is_mirrored, is_upside_down, random_flip
from tfscale.data.augment.pixels import require_image, resized_part
from tfscale.errors import ConfigError

Labels = dict[str, Any]

_RATIO = (0.5, 2.0)  # width / height of a crop, as of SSD


@tf.autograph.experimental.do_not_convert
def random_flip_with_boxes(
    image: tf.Tensor, y: Labels, seed: tf.Tensor, horizontal: bool = True, vertical: bool = False
) -> tuple[tf.Tensor, Labels]:
    """`random_flip`, and the boxes with it.

    Args:
        image: (height, width, channels), uint8 or floats.
        y: with `boxes` and `classes`, see above.
        seed: int32 (2,).
        horizontal: whether left and right may change places.
        vertical: whether top and bottom may.

    Returns:
        Image and y.

    Raises:
        ConfigError: it is no image, or y has no boxes or classes.
    """
    _require_boxes(y, "random_flip_with_boxes")
    boxes = y["boxes"]
    y_min, x_min, y_max, x_max = tf.unstack(boxes, axis=-1)
    if horizontal:
        mirrored = is_mirrored(seed)
        x_min, x_max = (
            tf.where(mirrored, 1.0 - x_max, x_min),
            tf.where(mirrored, 1.0 - x_min, x_max),
        )
    if vertical:
        turned = is_upside_down(seed)
        y_min, y_max = tf.where(turned, 1.0 - y_max, y_min), tf.where(turned, 1.0 - y_min, y_max)
    moved = tf.stack([y_min, x_min, y_max, x_max], axis=-1)
    is_there = y["classes"] >= 0
    moved = tf.where(is_there[:, tf.newaxis], moved, tf.zeros_like(moved))
    flipped = random_flip(image, seed, horizontal, vertical)
    return flipped, {**y, "boxes": tf.ensure_shape(moved, boxes.shape)}


@tf.autograph.experimental.do_not_convert
def random_crop_with_boxes(
    image: tf.Tensor,
    y: Labels,
    seed: tf.Tensor,
    size: tuple[int, int],
    area: Limits = (0.1, 1.0),
    min_visible: float = 0.3,
) -> tuple[tf.Tensor, Labels]:
    """Cuts out a random part in which at least one box is seen, and resizes it (Liu, "SSD", 2016).

    A box is cut down to the part. One that is seen by less than `min_visible` becomes a row that
    fills up: class -1 and zeros. An image without boxes is cut anywhere.

    Args:
        image: (height, width, channels), uint8 or floats.
        y: with `boxes` and `classes`, see above.
        seed: int32 (2,).
        size: height and width of the result.
        area: least and largest share of the image's area.
        min_visible: share of a box's area, above 0 and up to 1.

    Returns:
        Image (*size, channels) of its dtype, and y; the whole image where no part fits all this.

    Raises:
        ConfigError: it is no image, y has no boxes or classes, or `min_visible` is out of range.
    """
    image = require_image(image, "random_crop_with_boxes")
    _require_boxes(y, "random_crop_with_boxes")
    if not 0.0 < min_visible <= 1.0:
        raise ConfigError(f"min_visible={min_visible} can't be; expected above 0 and up to 1.")
    boxes = tf.clip_by_value(y["boxes"], 0.0, 1.0)
    is_there = y["classes"] >= 0
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(image),
        bounding_boxes=tf.boolean_mask(boxes, is_there)[tf.newaxis],
        seed=derived(seed, "crop with boxes"),
        min_object_covered=min_visible,
        aspect_ratio_range=_RATIO,
        area_range=area,
        use_image_if_no_bounding_boxes=True,
    )
    moved, share = _in_window(boxes, tf.shape(image), begin, extent)
    # A box that the sampler saw by just that share mustn't be lost to the last digit.
    kept = is_there & (share >= min_visible - 1e-5)
    moved = tf.where(kept[:, tf.newaxis], moved, tf.zeros_like(moved))
    classes = tf.where(kept, y["classes"], -tf.ones_like(y["classes"]))
    made = {**y, "boxes": tf.ensure_shape(moved, y["boxes"].shape), "classes": classes}
    return resized_part(image, begin, extent, size), made


def _in_window(
    boxes: tf.Tensor, shape: tf.Tensor, begin: tf.Tensor, extent: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Boxes relative to a part of the image, cut down to it, and the share of each that is left."""
    sides, first = tf.cast(shape[:2], tf.float32), tf.cast(begin[:2], tf.float32)
    length = tf.cast(tf.stack([extent[0], extent[1]]), tf.float32)
    scaled = (boxes * tf.tile(sides, [2]) - tf.tile(first, [2])) / tf.tile(length, [2])
    cut = tf.clip_by_value(scaled, 0.0, 1.0)
    return cut, tf.math.divide_no_nan(_areas(cut), _areas(scaled))


def _areas(boxes: tf.Tensor) -> tf.Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _require_boxes(y: Labels, caller: str) -> None:
    if not isinstance(y, dict) or not {"boxes", "classes"} <= set(y):
        came = f"a dict of {', '.join(map(str, y))}" if isinstance(y, dict) else type(y).__name__
        raise ConfigError(
            f'{caller} got {came} for y; expected a dict with "boxes", float32 (M, 4) relative, '
            'and "classes", integers (M,), -1 fills.'
        )
