r"""What users thought of items, in DATA_DIR/ratings.parquet: columns `user`, `item`, `rating`.

    python launch/worker.py --dataset=datasets/ratings.py --data_dir=/data/films \
        --model=models/two_towers.py --run_dir=runs/films --batch_size=1024 --epochs=10 \
        --optimizer=adam

Users and items are whole numbers from 0.
"""

import os
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import tensorflow as tf

from tfscale.data.collection import Collection
from tfscale.data.formats import held

validation_fraction = 0.1

task = "regression"
splits = ("train", "validation")


def statistics(data_dir: str) -> dict[str, Any]:
    """How many users and items there are, and the mean rating."""
    table = _table(data_dir)
    sizes = {f"num_{name}s": int(table[name].max()) + 1 for name in ("user", "item")}
    return {**sizes, "mean_rating": table["rating"].mean()}


def load(split: str, data_dir: str) -> Collection:
    """Give the rows of one split: `{"user": int64, "item": int64, "rating": float32}`."""
    if split not in splits:
        raise ValueError(f"There is no split {split!r}. Use one of {', '.join(splits)}.")
    training, validation = held.collection(data_dir, _table(data_dir)).split(validation_fraction)
    return training if split == "train" else validation


def preprocess(
    record: dict[str, tf.Tensor], training: bool
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Make `(x, y)`: x a dict of int64 scalars, y a float32 scalar."""
    del training  # nothing is augmented
    return {"user": record["user"], "item": record["item"]}, record["rating"]


def _table(data_dir: str) -> dict[str, Any]:
    table = parquet.read_table(os.path.join(data_dir, "ratings.parquet"))
    types = {"user": np.int64, "item": np.int64, "rating": np.float32}
    return {name: table[name].to_numpy().astype(kind) for name, kind in types.items()}
