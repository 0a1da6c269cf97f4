r"""Rectangles, discs and triangles to be found, drawn from their index: no download, no disk.

    python launch/local.py --workers=2 -- --dataset=datasets/shapes.py --model=models/detector.py \
        --model_option=width=16 --model_option=total_steps=384 --run_dir=runs/shapes \
        --batch_size=32 --epochs=6

The smallest data set for detection: a model that works finds nearly all of them after some hundred
steps. Each constant below can be set by `--dataset_option`. An example depends on `seed` and its
index alone: every worker, run and batch size sees the same.
"""

import tensorflow as tf

size = 2048  # training examples; validation and test have an eighth of that each
side = 64  # pixels of an image's height and width
seed = 0

num_classes = 3  # rectangle, disc, triangle
task = "detection"
splits = ("train", "validation", "test")

_MOST = 4  # objects of an image: at most one in each quarter
_NOISE = 0.2


def load(split: str) -> tf.data.Dataset:
    """Give the indices (int64 scalars) of one split; each goes on where the one before ends."""
    starts = {"train": 0, "validation": size, "test": size + size // 8}
    if split not in starts:
        raise ValueError(f"The shapes have no split {split!r}. Use one of {', '.join(splits)}.")
    count = size if split == "train" else size // 8
    return tf.data.Dataset.range(starts[split], starts[split] + count)


def preprocess(record: tf.Tensor, training: bool) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Draw an image and say what is on it.

    Returns:
        x, float32 (side, side, 3) in 0..1, and y, {"boxes": float32 (4, 4) as (y_min, x_min, y_max,
        x_max) in 0..1, "classes": int64 (4,) with -1 where there is no object}. At least one is.
    """
    del training  # nothing is augmented
    draw = _Draws(record)
    is_there = (draw(_MOST) < 0.75) | (tf.range(_MOST, dtype=tf.int64) == record % _MOST)
    classes = tf.cast(tf.floor(draw(_MOST) * num_classes), tf.int64)
    extents = 0.16 + 0.3 * draw(_MOST, 2)  # height and width, less than a quarter's
    is_disc = (classes == 1)[:, tf.newaxis]
    extents = tf.where(is_disc, tf.reduce_min(extents, axis=1, keepdims=True), extents)
    quarters = tf.constant([[0.0, 0.0], [0.0, 0.5], [0.5, 0.0], [0.5, 0.5]])
    first = quarters + (0.5 - extents) * draw(_MOST, 2)
    # Whole pixels, so that a box ends where its shape does.
    boxes = tf.round(tf.concat([first, first + extents], axis=1) * side) / side
    covered = _covered(boxes, classes) & is_there[:, tf.newaxis, tf.newaxis]
    colours = 0.35 + 0.65 * draw(_MOST, 1, 1, 3)
    image = tf.reduce_sum(tf.where(covered[..., tf.newaxis], colours, 0.0), axis=0)
    return (1.0 - _NOISE) * image + _NOISE * draw(side, side, 3), {
        "boxes": tf.where(is_there[:, tf.newaxis], boxes, 0.0),
        "classes": tf.where(is_there, classes, tf.constant(-1, tf.int64)),
    }


def _covered(boxes: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """Which pixels each shape covers: bool (objects, side, side)."""
    centres = (tf.range(side, dtype=tf.float32) + 0.5) / side
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    # -1..1 from edge to edge of the box, downwards and to the right.
    down = ((centres - middle[:, :1]) / half[:, :1])[:, :, tf.newaxis]
    right = ((centres - middle[:, 1:]) / half[:, 1:])[:, tf.newaxis, :]
    rectangle = (tf.abs(down) < 1.0) & (tf.abs(right) < 1.0)
    disc = down**2 + right**2 < 1.0
    # Its tip is on top. Half a pixel more, so that tip and corners are seen.
    slack = (0.5 / side / half[:, 1:])[:, tf.newaxis]
    triangle = rectangle & (tf.abs(right) < (1.0 + down) / 2 + slack)
    kind = classes[:, tf.newaxis, tf.newaxis]
    return tf.where(kind == 0, rectangle, tf.where(kind == 1, disc, triangle))


class _Draws:
    """Random numbers in 0..1 of one example: others with each call, the same in every run."""

    def __init__(self, record: tf.Tensor) -> None:
        """Has drawn nothing yet."""
        self._record, self._calls = record, 0

    def __call__(self, *shape: int) -> tf.Tensor:
        """Give float32 numbers of a shape."""
        self._calls += 1
        own = tf.stack([tf.constant(seed * 97 + self._calls, tf.int64), self._record])
        return tf.random.stateless_uniform(shape, own)
