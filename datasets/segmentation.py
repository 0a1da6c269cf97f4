r"""Your own images with a mask for each: DATA_DIR/images/NAME.jpg, DATA_DIR/masks/NAME.png.

    python launch/worker.py --dataset=datasets/segmentation.py --data_dir=/data/roads \
        --dataset_option=num_classes=3 --model=models/unet.py --run_dir=runs/roads --batch_size=16

A mask has the class of each pixel, from 0; 255 counts nowhere.
"""

import os
from pathlib import Path

import keras
import tensorflow as tf

from tfscale.data import images
from tfscale.data.collection import Collection
from tfscale.data.formats import held

size = (128, 128)  # height and width of x and of y, multiples of 4
validation_fraction = 0.2
void = 255  # in a mask, what belongs to no class

num_classes = 2
splits = ("train", "validation")


def metrics() -> list[keras.metrics.Metric]:
    """The overlap of each class with its mask, beside the share of pixels that are right."""
    return [keras.metrics.MeanIoU(num_classes, sparse_y_pred=False, name="mean_iou")]


def load(split: str, data_dir: str) -> Collection:
    """Give the paths of one split: `{"image": text, "mask": text}`."""
    if split not in splits:
        raise ValueError(f"There is no split {split!r}. Use one of {', '.join(splits)}.")
    masks = {path.stem: str(path) for path in Path(data_dir, "masks").glob("*.png")}
    found = sorted(Path(data_dir, "images").iterdir())
    missing = [path.name for path in found if path.stem not in masks]
    if missing:
        raise ValueError(f"{data_dir}/masks has no {Path(missing[0]).stem}.png. Add it.")
    paths = {
        "image": held.texts(os.fspath(path) for path in found),
        "mask": held.texts(masks[path.stem] for path in found),
    }
    pairs = held.collection(data_dir, paths, lambda number: str(found[number]))
    training, validation = pairs.split(validation_fraction)
    return training if split == "train" else validation


def preprocess(
    record: dict[str, tf.Tensor], training: bool
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Make `(x, y, weight)`: float32 (*size, 3) in 0..1, int32 (*size), float32 (*size)."""
    image = images.resize(images.decode(tf.io.read_file(record["image"])), size)
    mask = images.decode(tf.io.read_file(record["mask"]), channels=1)
    mask = tf.image.resize(mask, size, method="nearest")
    if training:  # one seed turns both alike
        image = tf.image.random_flip_left_right(image, seed=1)
        mask = tf.image.random_flip_left_right(mask, seed=1)
    classes = tf.cast(mask[..., 0], tf.int32)
    is_void = tf.equal(classes, void)
    x = tf.cast(image, tf.float32) / 255.0
    return x, tf.where(is_void, 0, classes), tf.cast(~is_void, tf.float32)
