"""A step in several parts, for which one all-reduce is enough."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfscale.structures import Gradient, Structure


def part_of(batch: Structure, part: int, count: int) -> Structure:
    """One of `count` equal slices of a replica batch."""
    if count == 1:
        return batch

    def slice_of(leaf: tf.Tensor) -> tf.Tensor:
        size = leaf.shape[0] // count
        return leaf[part * size : (part + 1) * size]

    return tf.nest.map_structure(slice_of, batch)


def mean_of(parts: Sequence[Sequence[Any]]) -> list[Gradient]:
    """The mean of the gradients of several micro-batches, variable by variable."""
    return [_mean(same) for same in zip(*parts, strict=True)]


def _mean(parts: Sequence[Any]) -> Gradient:
    there = [part for part in parts if part is not None]
    if not there or len(parts) == 1:
        return there[0] if there else None
    if all(isinstance(part, tf.IndexedSlices) for part in there):
        return tf.IndexedSlices(
            tf.concat([part.values for part in there], 0) / len(parts),
            tf.concat([part.indices for part in there], 0),
            there[0].dense_shape,
        )
    return tf.add_n([tf.convert_to_tensor(part) for part in there]) / len(parts)
