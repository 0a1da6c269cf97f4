r"""Your own table of numbers: DATA_DIR/train.csv and validation.csv, with names in the first line.

    python launch/worker.py --dataset=datasets/csv_table.py --data_dir=/data/wine \
        --dataset_option=label=quality --dataset_option=num_classes=10 --model=models/mlp.py \
        --run_dir=runs/wine --batch_size=64 --epochs=20

The column `label` is the class; all others are features, whatever their order. (A file called
csv.py would stand in the way of Python's own module.)
"""

import os

import tensorflow as tf

from tfscale.data.collection import Collection
from tfscale.data.formats import csv_table

label = "label"

num_classes = 2
task = "classification"
splits = ("train", "validation")


def load(split: str, data_dir: str) -> Collection:
    """Give the rows of one split: `{"features": float32 (features,), label: int64}`."""
    if split not in splits:
        raise ValueError(f"There is no split {split!r}. Use one of {', '.join(splits)}.")
    names = csv_table.column_names(os.path.join(data_dir, "train.csv"))
    features = [name for name in names if name != label]
    path = os.path.join(data_dir, f"{split}.csv")
    return csv_table.records(path, features, {label: "int64"}, {label: num_classes})


def preprocess(record: dict[str, tf.Tensor], training: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Make `(x, y)`: x float32 (features,), y int64 scalar."""
    del training  # nothing is augmented
    return record["features"], record[label]
