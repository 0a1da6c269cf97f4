r"""Your own table of numbers: DATA_DIR/train.csv and validation.csv, with names in the first line.

    python launch/worker.py --dataset=datasets/csv_table.py --data_dir=/data/wine \
        --dataset_option=label=quality --dataset_option=num_classes=10 --model=models/mlp.py \
        --run_dir=runs/wine --batch_size=64 --epochs=20

The column `label` is the class, as a number from 0 or as a text; all others with a name are
features, whatever their order. One that counts the rows or repeats the label is refused unless it
is among `features`. (A file called csv.py would stand in the way of Python's own module.)
"""

import os

import tensorflow as tf

from tfscale.data.collection import Collection
from tfscale.data.formats import csv_features, csv_table

label = "label"
features = ""  # names with commas between them; every column but the label if empty
exclude = ""  # likewise columns that are no features

num_classes = 2
task = "classification"
splits = ("train", "validation")


def load(split: str, data_dir: str) -> Collection:
    """Give the rows of one split: `{"features": float32 (features,), label: int64}`."""
    if split not in splits:
        raise ValueError(f"There is no split {split!r}. Use one of {', '.join(splits)}.")
    train = os.path.join(data_dir, "train.csv")
    names = csv_features.feature_names(train, label, features=features, exclude=exclude)
    classes = csv_table.class_names(train, label)
    if classes and len(classes) != num_classes:
        raise ValueError(
            f"{train} has {len(classes)} classes in {label}; expected num_classes = {num_classes}. "
            f"Use --dataset_option=num_classes={len(classes)}."
        )
    path = os.path.join(data_dir, f"{split}.csv")
    return csv_table.records(path, names, {label: "int64"}, {label: num_classes}, {label: classes})


def preprocess(record: dict[str, tf.Tensor], training: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Make `(x, y)`: x float32 (features,), y int64 scalar."""
    del training  # nothing is augmented
    return record["features"], record[label]
