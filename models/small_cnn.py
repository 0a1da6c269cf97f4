"""A small convolutional network for images of 8 x 8 to 64 x 64 pixels; quick on a CPU.

Pairs of 3 x 3 convolutions with the width doubled at every halving, after K. Simonyan and
A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015,
https://arxiv.org/abs/1409.1556, and global average pooling instead of their dense layers, after
M. Lin et al., "Network In Network", 2014, https://arxiv.org/abs/1312.4400.

It has no batch normalisation and no dropout on purpose: nothing in it depends on how a batch is
spread over workers, so that one worker and many must train to the same weights.
"""

import keras
import tensorflow as tf

widths = (32, 64)  # channels of each stage; --model_option=widths=32,64,128 for larger images


def build(spec: tf.TensorSpec, num_classes: int) -> keras.Model:
    """Build the network that maps one image (height, width, channels) to logits.

    Args:
        spec: shape and dtype of one image, without the batch.
        num_classes: how many logits come out.
    """
    x = inputs = keras.Input(shape=spec.shape)
    for stage, width in enumerate(widths):
        if stage > 0:
            x = keras.layers.MaxPooling2D(2)(x)
        for _ in range(2):
            x = keras.layers.Conv2D(
                width, 3, padding="same", activation="relu", kernel_initializer="he_normal"
            )(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    # float32 whatever the precision of the rest: a softmax over float16 logits loses small classes.
    logits = keras.layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name="small_cnn")
