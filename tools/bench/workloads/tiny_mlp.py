"""Four dense layers of 64: a step so short that all of it is overhead."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from tfscale.structures import Foreign

_WIDTH = 64


class TinyMlp:
    """Regression from 64 numbers to 64, 32 examples a replica."""

    name = "tiny-mlp"
    examples_per_step = 32
    loss = "mse"

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Features and labels, float32 (32, 64) each."""
        generator = np.random.default_rng(0)
        x = generator.normal(size=(self.examples_per_step, _WIDTH)).astype(np.float32)
        return x, np.tanh(x)

    def keras_model(self, keras: ModuleType) -> Foreign:
        """Three layers with relu and one without."""
        inputs = keras.Input((_WIDTH,))
        x = inputs
        for _ in range(3):
            x = keras.layers.Dense(_WIDTH, activation="relu")(x)
        return keras.Model(inputs, keras.layers.Dense(_WIDTH)(x))

    def plain(self) -> tuple[list[tf.Variable], Callable[[tf.Tensor, tf.Tensor], tf.Tensor]]:
        """The same without Keras."""
        initial = tf.random.stateless_normal([4, _WIDTH, _WIDTH], [1, 2]) / _WIDTH**0.5
        kernels = [tf.Variable(kernel) for kernel in tf.unstack(initial)]
        biases = [tf.Variable(tf.zeros([_WIDTH])) for _ in range(4)]

        def loss(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
            for kernel, bias in zip(kernels[:3], biases[:3], strict=True):
                x = tf.nn.relu(tf.matmul(x, kernel) + bias)
            return tf.reduce_mean((tf.matmul(x, kernels[3]) + biases[3] - y) ** 2)

        pairs = zip(kernels, biases, strict=True)
        return [variable for pair in pairs for variable in pair], loss

    def torch_model(self) -> tuple[Any, Any]:
        """The same in PyTorch."""
        from torch import nn

        hidden = [part for _ in range(3) for part in (nn.Linear(_WIDTH, _WIDTH), nn.ReLU())]
        return nn.Sequential(*hidden, nn.Linear(_WIDTH, _WIDTH)), nn.functional.mse_loss
