"""A multilayer perceptron: the smallest model, for tests and for features without a structure."""

import keras
import tensorflow as tf

hidden = (128, 128)  # units of each hidden layer; --model_option=hidden=256,256


def build(spec: tf.TensorSpec, num_classes: int) -> keras.Model:
    """Build the network that maps one example's features (any fixed shape) to logits.

    Args:
        spec: shape and dtype of one example's features, without the batch.
        num_classes: how many logits come out.
    """
    x = inputs = keras.Input(shape=spec.shape)
    x = keras.layers.Flatten()(x)
    for units in hidden:
        x = keras.layers.Dense(units, activation="relu", kernel_initializer="he_normal")(x)
    # float32 whatever the precision of the rest: a softmax over float16 logits loses small classes.
    logits = keras.layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name="mlp")
