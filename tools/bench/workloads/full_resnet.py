"""ResNet-50 on images of 224 x 224 pixels: what a GPU is measured by."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.structures import Foreign

_SIDE, _CLASSES = 224, 1000


class FullResNet:
    """Classification into 1000 classes, 64 examples a replica, as ImageNet has them.

    The network of Keras's applications (He et al. 2015, arXiv:1512.03385), without weights. Images
    are bytes until they are on the device, so that the link to it isn't what is measured.
    """

    name = "full-resnet"
    examples_per_step = 64
    loss = "sparse_categorical_crossentropy"

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Images, uint8 (64, 224, 224, 3), and labels, int32 (64,)."""
        generator = np.random.default_rng(0)
        shape = (self.examples_per_step, _SIDE, _SIDE, 3)
        images = generator.integers(0, 256, shape, dtype=np.uint8)
        return images, generator.integers(0, _CLASSES, self.examples_per_step).astype(np.int32)

    def keras_model(self, keras: ModuleType) -> Foreign:
        """The network, with softmax in float32 at its end."""
        inputs = keras.Input((_SIDE, _SIDE, 3), dtype="uint8")
        x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(inputs)
        network = keras.applications.ResNet50(weights=None, include_top=False, pooling="avg")
        classes = keras.layers.Dense(_CLASSES, activation="softmax", dtype="float32")
        return keras.Model(inputs, classes(network(x)))

    def plain(self) -> tuple[list[tf.Variable], Callable[[tf.Tensor, tf.Tensor], tf.Tensor]]:
        """Not there.

        Raises:
            ConfigError: always.
        """
        raise _missing("bare")

    def torch_model(self) -> tuple[Any, Any]:
        """Not there.

        Raises:
            ConfigError: always.
        """
        raise _missing("ddp")


def _missing(system: str) -> ConfigError:
    return ConfigError(
        f"--systems={system} has no full-resnet; expected tfscale, stock or plain_keras. Leave "
        f"{system} out."
    )
