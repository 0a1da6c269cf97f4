"""A ResNet of 8 convolutions on images of 32 x 32 pixels: what two cores can train."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.structures import Foreign

_STAGES = (16, 32, 64)


class SmallResNet:
    """Classification of images into 10 classes, 64 examples a replica.

    One block of two 3 x 3 convolutions in each of three stages, with batch normalisation, as in
    He et al. 2016 (arXiv:1512.03385), section 4.2, with n = 1.
    """

    name = "small-resnet"
    examples_per_step = 64
    loss = "sparse_categorical_crossentropy"

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Images, float32 (64, 32, 32, 3), and labels, int32 (64,)."""
        generator = np.random.default_rng(0)
        labels = generator.integers(0, 10, self.examples_per_step).astype(np.int32)
        images = generator.normal(size=(self.examples_per_step, 32, 32, 3)).astype(np.float32)
        return images + labels[:, None, None, None] / 5, labels

    def keras_model(self, keras: ModuleType) -> Foreign:
        """The network, with softmax at its end."""
        layers = keras.layers

        def convolved(x: Foreign, filters: int, stride: int = 1, size: int = 3) -> Foreign:
            x = layers.Conv2D(filters, size, stride, padding="same", use_bias=False)(x)
            return layers.BatchNormalization(momentum=0.9)(x)  # PyTorch's default, too

        inputs = keras.Input((32, 32, 3))
        x = layers.ReLU()(convolved(inputs, _STAGES[0]))
        for stage, filters in enumerate(_STAGES):
            stride = 1 if stage == 0 else 2
            shortcut = x if stage == 0 else convolved(x, filters, stride, size=1)
            y = layers.ReLU()(convolved(x, filters, stride))
            x = layers.ReLU()(layers.Add()([shortcut, convolved(y, filters)]))
        x = layers.GlobalAveragePooling2D()(x)
        return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))

    def plain(self) -> tuple[list[tf.Variable], Callable[[tf.Tensor, tf.Tensor], tf.Tensor]]:
        """Not there: the control of this workload is the same program uncoupled.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            "--systems=bare has no small-resnet; expected a profile or --model=tiny-mlp. "
            "Leave bare out."
        )

    def torch_model(self) -> tuple[Any, Any]:
        """The same in PyTorch, images as (examples, channels, height, width)."""
        import torch
        from torch import nn

        def convolved(inputs: int, filters: int, stride: int = 1, size: int = 3) -> Foreign:
            padding = size // 2
            convolution = nn.Conv2d(inputs, filters, size, stride, padding, bias=False)
            return nn.Sequential(convolution, nn.BatchNorm2d(filters))

        class Block(nn.Module):
            def __init__(self, inputs: int, filters: int, stride: int) -> None:
                super().__init__()
                self.first = convolved(inputs, filters, stride)
                self.second = convolved(filters, filters)
                same = inputs == filters
                self.shortcut = nn.Identity() if same else convolved(inputs, filters, stride, 1)

            def forward(self, x: Foreign) -> Foreign:
                return torch.relu(self.shortcut(x) + self.second(torch.relu(self.first(x))))

        class Network(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.stem = convolved(3, _STAGES[0])
                pairs = zip((_STAGES[0], *_STAGES), _STAGES, strict=False)
                blocks = [Block(a, b, 1 if a == b else 2) for a, b in pairs]
                self.blocks = nn.Sequential(*blocks)
                self.classes = nn.Linear(_STAGES[-1], 10)

            def forward(self, images: Foreign) -> Foreign:
                x = self.blocks(torch.relu(self.stem(images.permute(0, 3, 1, 2))))
                return self.classes(x.mean((2, 3)))

        def loss(output: Foreign, labels: Foreign) -> Foreign:
            return nn.functional.cross_entropy(output, labels.long())

        return Network(), loss
