"""Boxes around objects: how far two agree, as targets of a network, and back from its output.

A box is (y_min, x_min, y_max, x_max), relative to the image: 0..1. The network sees an image as a
map of cells; each object is a Gaussian around the cell of its centre, and the cells under it say
where its box is.

Z. Liu et al., "Training-Time-Friendly Network for Real-Time Object Detection", 2019,
https://arxiv.org/abs/1909.00700; X. Zhou et al., "Objects as Points", 2019,
https://arxiv.org/abs/1904.07850; H. Rezatofighi et al., "Generalized Intersection over Union",
2019, https://arxiv.org/abs/1902.09630.
"""

from dataclasses import dataclass

import tensorflow as tf

_EXTENT = 0.54  # of an object's Gaussian, in sides of its box (Liu et al., section 4.3)
_EPSILON = 1e-7
_CELLS = 4.0  # side of the box that an output of 0 stands for
_MOST = 5.0  # exponent of a side: 600 cells


def areas(boxes: tf.Tensor) -> tf.Tensor:
    """Of boxes (..., 4), as (...); a box with a negative side has none."""
    sides = tf.nn.relu(boxes[..., 2:] - boxes[..., :2])
    return sides[..., 0] * sides[..., 1]


def intersection_over_union(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """How far boxes agree: their common area through that of both together.

    Args:
        boxes: (..., 4).
        others: (..., 4), of a shape that broadcasts: (n, 1, 4) and (m, 4) give all pairs.

    Returns:
        In 0..1; 0 where both are empty.
    """
    return tf.math.divide_no_nan(*_common_and_union(boxes, others))


def generalized_intersection_over_union(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """The same, less the part that neither has of the box around both: it has a slope everywhere.

    Args:
        boxes: as in `intersection_over_union`.
        others: likewise.

    Returns:
        In -1..1.
    """
    common, union = _common_and_union(boxes, others)
    around = areas(
        tf.concat(
            [
                tf.minimum(boxes[..., :2], others[..., :2]),
                tf.maximum(boxes[..., 2:], others[..., 2:]),
            ],
            axis=-1,
        )
    )
    return common / (union + _EPSILON) - (around - union) / (around + _EPSILON)


def _common_and_union(boxes: tf.Tensor, others: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    first = tf.maximum(boxes[..., :2], others[..., :2])
    last = tf.minimum(boxes[..., 2:], others[..., 2:])
    common = areas(tf.concat([first, last], axis=-1))
    return common, areas(boxes) + areas(others) - common


@dataclass(frozen=True)
class Targets:
    """What a network should say of b images, each a map of h x w cells.

    Args:
        heat: float32 (b, h, w, classes): 1 in the cell of an object's centre, less around it.
        boxes: float32 (b, h, w, 4): of the object whose Gaussian is the highest in a cell.
        weights: float32 (b, h, w): of each cell's box; those of an object sum to 1, or to less
            where another one covers it.
        num_objects: float32 (b,).
    """

    heat: tf.Tensor
    boxes: tf.Tensor
    weights: tf.Tensor
    num_objects: tf.Tensor


def encode(
    boxes: tf.Tensor, classes: tf.Tensor, *, num_classes: int, cells: tuple[int, int]
) -> Targets:
    """Makes targets of the objects of some images.

    Args:
        boxes: (b, m, 4).
        classes: whole numbers (b, m) in 0..num_classes-1; below 0 for no object.
        num_classes: how many.
        cells: height and width of the map.
    """
    is_there = classes >= 0
    boxes = tf.where(is_there[..., tf.newaxis], tf.cast(boxes, tf.float32), 0.0)
    heat = [_gaussian(boxes[..., axis], boxes[..., axis + 2], cells[axis]) for axis in (0, 1)]
    one_each = heat[0][..., :, tf.newaxis] * heat[1][..., tf.newaxis, :]  # (b, m, h, w)
    one_each = tf.where(is_there[..., tf.newaxis, tf.newaxis], one_each, 0.0)
    batch, most = tf.unstack(tf.shape(classes))
    places = tf.range(batch)[:, tf.newaxis] * num_classes + tf.cast(classes, tf.int32)
    of_classes = tf.math.unsorted_segment_max(
        tf.reshape(one_each, [batch * most, *cells]),
        tf.reshape(tf.where(is_there, places, -1), [-1]),  # what is below 0 is left out
        batch * num_classes,
    )
    # Where nothing is, the largest of nothing is the lowest number there is.
    of_classes = tf.reshape(tf.nn.relu(of_classes), [batch, num_classes, *cells])
    highest = tf.argmax(one_each, axis=1)  # (b, h, w)
    shares = one_each / (tf.reduce_sum(one_each, axis=[2, 3], keepdims=True) + _EPSILON)
    is_highest = tf.one_hot(highest, most, axis=1)
    return Targets(
        heat=tf.transpose(of_classes, [0, 2, 3, 1]),
        boxes=tf.gather(boxes, highest, batch_dims=1),
        weights=tf.reduce_sum(shares * is_highest, axis=1),
        num_objects=tf.reduce_sum(tf.cast(is_there, tf.float32), axis=1),
    )


def _gaussian(first: tf.Tensor, last: tf.Tensor, cells: int) -> tf.Tensor:
    """Along one axis: (b, m) ends of sides to (b, m, cells), 1 at the centre's cell, 0 far away."""
    reach = (last - first) * cells * _EXTENT / 2
    centre = tf.clip_by_value(tf.floor((first + last) / 2 * cells), 0.0, cells - 1.0)
    distance = tf.abs(tf.range(cells, dtype=tf.float32) - centre[..., tf.newaxis])
    sigma = tf.maximum(reach, 0.5)[..., tf.newaxis] / 3
    inside = distance <= tf.floor(reach)[..., tf.newaxis]
    return tf.where(inside, tf.exp(-tf.square(distance / sigma) / 2), 0.0)


def heat_loss(logits: tf.Tensor, heat: tf.Tensor) -> tf.Tensor:
    """A focal loss that makes little of cells near a centre: equation 1 of Zhou et al.

    Args:
        logits: (b, h, w, classes), of how likely it is that an object has its centre in a cell.
        heat: of `Targets`.

    Returns:
        (b, h, w, classes); to be summed, and divided by the number of objects.
    """
    of_centre = tf.square(tf.sigmoid(-logits)) * tf.math.log_sigmoid(logits)
    of_rest = (1.0 - heat) ** 4 * tf.square(tf.sigmoid(logits)) * tf.math.log_sigmoid(-logits)
    return -tf.where(heat >= 1.0, of_centre, of_rest)


def decode(output: tf.Tensor) -> tf.Tensor:
    """Boxes of what a network says in each cell.

    Args:
        output: (b, h, w, 4): how far the centre is from the cell's, down and right, in cells; then
            the logarithms of height and width, in four cells.

    Returns:
        (b, h, w, 4); they may reach over the edge of the image.
    """
    height, width = tf.unstack(tf.shape(output))[1:3]
    rows, columns = tf.meshgrid(tf.range(height), tf.range(width), indexing="ij")
    of_cells = tf.cast(tf.stack([rows, columns], axis=-1), output.dtype) + 0.5
    cells = tf.cast(tf.stack([height, width]), output.dtype)
    centres = (of_cells + output[..., :2]) / cells
    sides = tf.exp(tf.clip_by_value(output[..., 2:], -_MOST, _MOST)) * _CELLS / cells
    return tf.concat([centres - sides / 2, centres + sides / 2], axis=-1)


def best_detections(
    scores: tf.Tensor,
    boxes: tf.Tensor,
    *,
    count: int,
    candidates: int,
    most_overlap: float,
) -> dict[str, tf.Tensor]:
    """The objects that a map shows, the surest first; of boxes that overlap, the surest one.

    Args:
        scores: (b, h, w, classes) in 0..1. A cell that has a neighbour with a higher score of the
            same class is no candidate.
        boxes: (b, h, w, 4).
        count: of detections an image.
        candidates: of an image, at least `count`: those with the highest scores.
        most_overlap: intersection over union above which the less sure of two boxes of one class
            is left out.

    Returns:
        "boxes" float32 (b, count, 4), cut at the image's edge, "scores" float32 (b, count) and
        "classes" int64 (b, count). Where there are fewer: boxes and scores of 0, class -1.
    """
    scores, boxes = tf.cast(scores, tf.float32), tf.cast(boxes, tf.float32)
    is_peak = scores >= tf.nn.max_pool2d(scores, 3, 1, "SAME")
    batch, num_classes = tf.shape(scores)[0], scores.shape[-1]
    flat = tf.reshape(tf.where(is_peak, scores, 0.0), [batch, -1])
    best, places = tf.math.top_k(flat, tf.minimum(candidates, tf.shape(flat)[1]))
    classes = places % num_classes
    found = tf.gather(tf.reshape(boxes, [batch, -1, 4]), places // num_classes, batch_dims=1)
    found = tf.clip_by_value(found, 0.0, 1.0)
    # Boxes of different classes are moved apart, so that none leaves out another.
    apart = found + 2.0 * tf.cast(classes, tf.float32)[..., tf.newaxis]
    kept, num_kept = tf.image.non_max_suppression_padded(
        apart,
        best,
        count,
        iou_threshold=most_overlap,
        pad_to_max_output_size=True,
        sorted_input=True,
        canonicalized_coordinates=True,
    )
    is_kept = tf.range(count) < num_kept[:, tf.newaxis]
    best, classes, found = (tf.gather(part, kept, batch_dims=1) for part in (best, classes, found))
    is_kept = tf.logical_and(is_kept, best > 0.0)
    return {
        "boxes": tf.where(is_kept[..., tf.newaxis], found, 0.0),
        "scores": tf.where(is_kept, best, 0.0),
        "classes": tf.where(is_kept, tf.cast(classes, tf.int64), -1),
    }
