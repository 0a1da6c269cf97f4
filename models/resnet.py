"""Residual networks for images, the usual yardstick of distributed training.

K. He et al., "Deep Residual Learning for Image Recognition", 2015, https://arxiv.org/abs/1512.03385
in the version called 1.5: a bottleneck halves the image in its 3 x 3 convolution, not in its first
1 x 1. The last scale of each block starts at zero, so that a block starts as the identity, after
P. Goyal et al., "Accurate, Large Minibatch SGD", 2017, https://arxiv.org/abs/1706.02677.
Choose another depth with `--model_option=depth=18`.
"""

import keras
import tensorflow as tf
from keras import layers

depth = 50
synchronized = (
    False  # True: batch statistics over all replicas; slower, for tiny per-replica batches
)

# depth -> (blocks of each stage, whether a block is a bottleneck); table 1 of He et al.
_STAGES = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}


def build(spec: tf.TensorSpec, num_classes: int) -> keras.Model:
    """Build the network that maps one image (height, width, channels) to logits.

    Args:
        spec: shape and dtype of one image, without the batch.
        num_classes: how many logits come out.
    """
    if depth not in _STAGES:
        known = ", ".join(map(str, _STAGES))
        raise ValueError(
            f"No ResNet of depth {depth!r} is defined; expected one of {known}. "
            "Use for example --model_option=depth=50."
        )
    blocks_of_stage, bottleneck = _STAGES[depth]
    inputs = keras.Input(shape=spec.shape)
    x = _stem(inputs)
    for stage, num_blocks in enumerate(blocks_of_stage):
        for block in range(num_blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            x = _block(x, 64 * 2**stage, stride, bottleneck)
    x = layers.GlobalAveragePooling2D()(x)
    # float32 whatever the precision of the rest: a softmax over float16 logits loses small classes.
    logits = layers.Dense(
        num_classes,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),  # section 5.1 of Goyal
        dtype="float32",
        name="logits",
    )(x)
    return keras.Model(inputs, logits, name=f"resnet{depth}")


def _stem(x: keras.KerasTensor) -> keras.KerasTensor:
    """Take a large image to a quarter of its side; leave a small one (under 64) its few pixels."""
    if min(side or 64 for side in x.shape[1:3]) < 64:
        return layers.ReLU()(_conv_norm(x, 64, kernel=3))
    x = layers.ReLU()(_conv_norm(x, 64, kernel=7, stride=2))
    return layers.MaxPooling2D(3, strides=2, padding="same")(x)


def _block(x: keras.KerasTensor, width: int, stride: int, bottleneck: bool) -> keras.KerasTensor:
    """Add what the convolutions change to what came in (projected where the shape changes)."""
    width_out = 4 * width if bottleneck else width
    shortcut = x
    if stride > 1 or x.shape[-1] != width_out:
        shortcut = _conv_norm(x, width_out, kernel=1, stride=stride)
    if bottleneck:
        x = layers.ReLU()(_conv_norm(x, width, kernel=1))
    x = layers.ReLU()(_conv_norm(x, width, kernel=3, stride=stride))
    x = _conv_norm(x, width_out, kernel=1 if bottleneck else 3, gamma="zeros")
    return layers.ReLU()(layers.Add()([x, shortcut]))


def _conv_norm(
    x: keras.KerasTensor, width: int, *, kernel: int, stride: int = 1, gamma: str = "ones"
) -> keras.KerasTensor:
    x = layers.Conv2D(
        width, kernel, stride, padding="same", use_bias=False, kernel_initializer="he_normal"
    )(x)
    return layers.BatchNormalization(
        momentum=0.9, epsilon=1e-5, gamma_initializer=gamma, synchronized=synchronized
    )(x)
