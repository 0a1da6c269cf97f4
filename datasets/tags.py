r"""Your own images with any number of tags each: DATA_DIR/tags.csv and DATA_DIR/images/FILE.

    python launch/worker.py --dataset=datasets/tags.py --data_dir=/data/holidays \
        --model=models/small_cnn.py --run_dir=runs/holidays --batch_size=64 --epochs=20

tags.csv has columns `file` and `tags`, with blanks between the tags, such as `beach sunset`.
"""

import os
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfscale.data import images
from tfscale.data.collection import Collection
from tfscale.data.formats import csv_table

size = (96, 96)  # height and width of x
validation_fraction = 0.2

num_classes = None  # as many as there are tags
task = "multilabel"
splits = ("train", "validation")
class_weight = {0: 2.0}  # what a tag weighs where it is there, by its number; 1 if it isn't named
metrics = [keras.metrics.AUC(multi_label=True, name="auc")]


def statistics(data_dir: str) -> dict[str, Any]:
    """The tags, in the order of their numbers."""
    rows = _rows(data_dir)
    texts = [rows.read(np.array([at]))["tags"].numpy()[0] for at in range(rows.num_records)]
    tags = sorted({tag.decode() for text in texts for tag in text.split()})
    return {"tags": tags, "num_classes": len(tags)}


def load(split: str, data_dir: str) -> Collection:
    """Give the rows of one split: `{"path": text, "tags": text}`."""
    if split not in splits:
        raise ValueError(f"There is no split {split!r}. Use one of {', '.join(splits)}.")
    folder = os.path.join(data_dir, "images", "")
    training, validation = _rows(data_dir).split(validation_fraction)
    rows = training if split == "train" else validation
    return rows.map(lambda row: {"path": folder + row["file"], "tags": row["tags"]})


def preprocess(
    record: dict[str, tf.Tensor], training: bool, tags: list[str]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Make `(x, y)`: x float32 (*size, 3) in 0..1, y float32 (tags,), 1 where a tag is there."""
    image = images.decode_middle(tf.io.read_file(record["path"]), size, fraction=1.0)
    if training:
        image = tf.image.random_flip_left_right(image)
    own = tf.strings.split(record["tags"])
    there = tf.reduce_any(tf.equal(tf.constant(tags)[:, tf.newaxis], own), axis=1)
    return tf.cast(image, tf.float32) / 255.0, tf.cast(there, tf.float32)


def _rows(data_dir: str) -> Collection:
    path = os.path.join(data_dir, "tags.csv")
    return csv_table.records(path, [], {"file": "string", "tags": "string"})
