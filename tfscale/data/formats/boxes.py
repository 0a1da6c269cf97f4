"""Boxes of annotations, from pixels to parts of a picture: what is mended, what is refused.

A box that reaches out of its picture is cut at the edge, as its object is: annotations of VOC and
COCO do so by a pixel or two. A box that has no area, or lies outside altogether, is an error of its
annotation or of the picture's size, and refused with its file.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfscale.data.formats.held import PlaceOf, Rows
from tfscale.errors import ConfigError

FILL_CLASS = -1  # of the places that no box takes

_LOG = logging.getLogger(__name__)
_WORTH_SAYING_PIXELS = 1.0  # rounding puts many a box a part of a pixel outside


def relative(
    name: str,
    pixels: npt.NDArray[np.float64],
    sizes: npt.NDArray[np.float64],
    place_of: PlaceOf,
) -> npt.NDArray[np.float32]:
    """Boxes as parts of their pictures, cut at the edges.

    How many were cut by more than a pixel is written to the log, with the first of them.

    Args:
        name: of the data set, for messages.
        pixels: (n, 4), y_min, x_min, y_max, x_max in pixels; 0 is the upper or left edge.
        sizes: (n, 2), height and width of each box's picture, in pixels.
        place_of: says to which file a box belongs.

    Returns:
        (n, 4) in 0..1, in the same order.

    Raises:
        ConfigError: a picture has no size, or a box no area within it.
    """
    _refuse(
        np.flatnonzero(~(np.isfinite(sizes).all(axis=1) & (sizes > 0).all(axis=1))),
        lambda at: (
            f"{place_of(at)} has a picture of {_numbers(sizes[at])} pixels (height, width); "
            "expected its true size. Write it into the annotation."
        ),
    )
    limits = np.concatenate([sizes, sizes], axis=1)
    cut = np.clip(pixels, 0.0, limits)
    has_area = np.isfinite(pixels).all(axis=1) & (cut[:, 2:] > cut[:, :2]).all(axis=1)
    _refuse(
        np.flatnonzero(~has_area),
        lambda at: (
            f"{place_of(at)} has a box without area in its picture: y_min, x_min, y_max, "
            f"x_max are {_numbers(pixels[at])} in a picture of {_numbers(sizes[at])} pixels "
            "(height, width); expected min below max. Mend or remove the box."
        ),
    )
    _say_what_was_cut(name, np.abs(cut - pixels), place_of)
    parts: npt.NDArray[np.float32] = (cut / limits).astype(np.float32)
    return parts


def filled_up(
    counts: npt.NDArray[np.int64],
    max_boxes: int,
    place_of: PlaceOf,
    values: Sequence[tuple[npt.NDArray[Any], float | int | bool]],
) -> list[Rows]:
    """What belongs to the boxes of each picture, with the same number of places for each.

    Args:
        counts: (pictures,), how many boxes each has.
        max_boxes: places.
        place_of: says what a picture's file is.
        values: of all boxes, picture after picture, (boxes, ...), and what fills free places.

    Raises:
        ConfigError: a picture has more boxes than places.
    """
    _refuse(
        np.flatnonzero(counts > max_boxes),
        lambda at: (
            f"{place_of(at)} has {counts[at]} boxes; expected at most max_boxes = "
            f"{max_boxes}. Set max_boxes to {counts.max()} or more."
        ),
    )
    return [Rows(array, counts, max_boxes, fill) for array, fill in values]


@tf.autograph.experimental.do_not_convert
def fill_up(values: tf.Tensor, max_boxes: int, fill: float | int | bool) -> tf.Tensor:
    """The same for one record in `preprocess`: rows up to a fixed number.

    Args:
        values: (boxes, ...), of a record's boxes; more of them than places fail.
        max_boxes: places.
        fill: what fills free places: `FILL_CLASS` for classes, 0 for boxes, False for flags.

    Returns:
        (max_boxes, ...).
    """
    count = tf.shape(values)[0]
    fits = tf.debugging.Assert(
        count <= max_boxes,
        [
            "A picture has",
            count,
            f"boxes; expected at most max_boxes = {max_boxes}. Set it higher.",
        ],
    )
    with tf.control_dependencies([fits]):
        free = tf.fill([max_boxes - count, *values.shape[1:]], tf.constant(fill, values.dtype))
    filled = tf.concat([values, free], axis=0)
    return tf.ensure_shape(filled, [max_boxes, *values.shape[1:]])


def _say_what_was_cut(name: str, beyond: npt.NDArray[np.float64], place_of: PlaceOf) -> None:
    """Writes to the log how many boxes were outside by more than a pixel, and the first of them."""
    over = np.flatnonzero((beyond > _WORTH_SAYING_PIXELS).any(axis=1))
    if len(over):
        _LOG.warning(
            "%s: %d of %d boxes reach out of their pictures by more than a pixel, the first one in "
            "%s; they were cut at the edge.",
            name,
            len(over),
            len(beyond),
            place_of(int(over[0])),
        )


def _refuse(wrong: npt.NDArray[np.intp], reason: Callable[[int], str]) -> None:
    if len(wrong):
        raise ConfigError(reason(int(wrong[0])))


def _numbers(values: npt.NDArray[np.float64]) -> str:
    return ", ".join(f"{value:g}" for value in values)
