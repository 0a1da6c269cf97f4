"""Many small tensors as one vector, so that one all-reduce carries all of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf


class Packing:
    """A list of tensors as one float64 vector and back.

    Args:
        shapes: of the tensors, all static.
    """

    def __init__(self, shapes: Sequence[Any]) -> None:
        self.shapes = [tf.TensorShape(shape) for shape in shapes]
        self.sizes = [shape.num_elements() for shape in self.shapes]

    def pack(self, tensors: Sequence[tf.Tensor]) -> tf.Tensor:
        """One float64 vector with every element of every tensor."""
        flat = [tf.reshape(tf.cast(tensor, tf.float64), [-1]) for tensor in tensors]
        return tf.concat([*flat, tf.zeros([0], tf.float64)], axis=0)

    def zeros(self) -> np.ndarray:
        """A packed vector of nothing, float64."""
        return np.zeros([sum(self.sizes)])

    def unpack(self, vector: tf.Tensor) -> list[tf.Tensor]:
        """The float64 tensors of a packed vector."""
        if not self.shapes:
            return []
        parts = tf.split(vector, self.sizes)
        return [tf.reshape(part, shape) for part, shape in zip(parts, self.shapes, strict=True)]
