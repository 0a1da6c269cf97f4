"""A small U-Net for datasets/segmentation.py: a class for each pixel.

O. Ronneberger, P. Fischer and T. Brox, "U-Net", 2015, https://arxiv.org/abs/1505.04597.
"""

import keras
import tensorflow as tf
from keras import layers

width = 16  # channels of the first level; each level below has twice as many


def build(spec: tf.TensorSpec, num_classes: int) -> keras.Model:
    """Give logits (height, width, num_classes) for an image; its sides are multiples of 4."""
    x = inputs = keras.Input(spec.shape)
    kept = []
    for level in range(2):
        x = _block(x, width * 2**level)
        kept.append(x)
        x = layers.MaxPooling2D()(x)
    x = _block(x, width * 4)
    for level in (1, 0):
        x = layers.Conv2DTranspose(width * 2**level, 2, 2)(x)
        x = _block(layers.Concatenate()([x, kept[level]]), width * 2**level)
    # Logits are float32 in mixed precision too.
    return keras.Model(inputs, layers.Conv2D(num_classes, 1, dtype="float32")(x))


def _block(x: keras.KerasTensor, channels: int) -> keras.KerasTensor:
    """Averages of few steps serve: such sets are small, and trainings short."""
    for _ in range(2):
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
        x = layers.Activation("relu")(layers.BatchNormalization(momentum=0.9, synchronized=True)(x))
    return x
