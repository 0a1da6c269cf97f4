"""The weight of each example's class, where the dataset file gives one."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfscale.data.dataset_file import DatasetFile
from tfscale.structures import Foreign, Structure


def weight_function(dataset: DatasetFile) -> Callable[[Any], Any]:
    """What adds the weight of each example's class, where the dataset file has `class_weight`."""
    table = dataset.class_weight
    if table is None:
        return lambda example: example

    def weighted(example: Structure) -> Structure:
        x, y, *given = example
        if isinstance(y, dict):
            weights = {name: _weight_of(label, table.get(name, {})) for name, label in y.items()}
        else:
            weights = _weight_of(y, table)
        for also in given:
            beside = also if isinstance(also, dict) else tf.nest.map_structure(lambda _: also, y)  # noqa: B023
            weights = tf.nest.map_structure(
                lambda own, other: own * tf.cast(other, tf.float32), weights, beside
            )
        return x, y, weights

    return weighted


def _weight_of(label: tf.Tensor, table: Foreign) -> tf.Tensor:
    classes = label if label.shape.rank == 0 else tf.argmax(label, axis=-1)
    size = max(table, default=0) + 1
    weights = tf.constant([float(table.get(number, 1.0)) for number in range(size)])
    classes = tf.cast(classes, tf.int64)
    return tf.where(classes < size, tf.gather(weights, tf.minimum(classes, size - 1)), 1.0)
