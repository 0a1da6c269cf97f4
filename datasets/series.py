r"""Your own time series in DATA_DIR/series.csv: a column for each variable, a row for each time.

    python launch/worker.py --dataset=datasets/series.py --data_dir=/data/power \
        --dataset_option=target=load --model=models/forecaster.py --run_dir=runs/power \
        --batch_size=128 --epochs=10 --optimizer=adam

An example is a window of `history` rows and the `horizon` values of `target` that follow. The last
rows validate; the variables are scaled by what the others have.
"""

import os
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfscale.data.collection import Collection
from tfscale.data.formats import csv_table, held

target = "value"  # name of the column that is forecast
history, horizon = 48, 1  # rows
validation_fraction = 0.2  # of the rows, the last ones

task = "regression"
splits = ("train", "validation")


def statistics(data_dir: str) -> dict[str, Any]:
    """Mean and spread of each variable in the rows of training, and the place of the target."""
    names, rows = _rows(data_dir)
    known = rows[: _first_of_validation(rows)]
    spread = np.maximum(known.std(axis=0), 1e-6)
    return {"mean": known.mean(axis=0), "spread": spread, "place": names.index(target)}


def load(split: str, data_dir: str) -> Collection:
    """Give the windows of one split: `{"rows": float32 (history + horizon, variables)}`."""
    if split not in splits:
        raise ValueError(f"There is no split {split!r}. Use one of {', '.join(splits)}.")
    _, rows = _rows(data_dir)
    cut, length = _first_of_validation(rows), history + horizon
    own = rows[:cut] if split == "train" else rows[cut - history :]  # nobody forecasts twice
    windows = np.lib.stride_tricks.sliding_window_view(own, length, axis=0)
    return held.collection(data_dir, {"rows": windows.transpose(0, 2, 1)})


def preprocess(
    record: dict[str, tf.Tensor],
    training: bool,
    mean: list[float],
    spread: list[float],
    place: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Make `(x, y)`: x float32 (history, variables), y float32 (horizon,), both scaled."""
    del training  # nothing is augmented
    scaled = (record["rows"] - tf.constant(mean)) / tf.constant(spread)
    return scaled[:history], scaled[history:, place]


def _rows(data_dir: str) -> tuple[list[str], npt.NDArray[np.float32]]:
    path = os.path.join(data_dir, "series.csv")
    names = csv_table.column_names(path)
    table = csv_table.records(path, names, {})
    return names, table.read(np.arange(table.num_records))["features"].numpy()


def _first_of_validation(rows: npt.NDArray[np.float32]) -> int:
    return round(len(rows) * (1 - validation_fraction))
