"""Every way that gradients can be sent."""

from types import SimpleNamespace

import numpy as np

from tests.jobs.scenes.examples import NUM_EXAMPLES, digits, large_digits
from tests.jobs.scenes.networks import small_resnet, smaller_resnet, uncompiled_dense

WEIGHTS, BUCKET = 80, 40
BUCKET_MB = 0.0002  # room for 52 float32: the weights go in two equal buckets
STEPS = 10

# Sums of 16 numbers below 4 lose nothing in 16 bits. Numbers of many digits are seldom equal, so
# that it's no matter of taste which are the largest; ten steps of them are exact in float32.
SMALL, LARGE = 4, 10_000


def numbers(below):
    """Whole numbers as float32 (NUM_EXAMPLES, WEIGHTS), between -below and below."""
    random = np.random.default_rng(7)
    return random.integers(1 - below, below, (NUM_EXAMPLES, WEIGHTS)).astype("float32")


def updates(stage):
    """The gradient of every step is the mean of its examples, whatever the weights are.

    Whole numbers and batches of a power of two leave nothing to rounding: after the training the
    weights tell each update that got lost or came twice.
    """
    return {
        "float32": _sum_of_updates(stage, LARGE),
        "bfloat16": _sum_of_updates(stage, SMALL, wire_dtype="bfloat16"),
        "float16": _sum_of_updates(stage, SMALL, wire_dtype="float16"),
        "int8": _sum_of_updates(stage, LARGE, compress="int8"),
        "topk": _sum_of_updates(stage, LARGE, compress="topk"),
    }


def _sum_of_updates(stage, below, **settings):
    import keras
    import tensorflow as tf

    def load(split):
        if split != "train":
            return None
        x = numbers(below)
        return tf.data.Dataset.from_tensor_slices((x, np.zeros(len(x), "float32")))

    def build(spec):
        layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
        model = keras.Sequential([keras.Input(spec.shape), layer])
        model.compile(keras.optimizers.SGD(1.0), loss=lambda y_true, y_pred: y_pred[:, 0])
        return model

    data = SimpleNamespace(load=load, task="regression")
    return stage.train(data, build, steps_per_epoch=STEPS, bucket_mb=BUCKET_MB, **settings)


def rounded_resnet(stage):
    """A small ResNet whose gradients travel in 32 bits, and in 16."""
    return {wire: resnet_losses(stage, wire_dtype=wire) for wire in ("float32", "float16")}


def resnet_losses(stage, **settings):
    """Trains for 60 steps; the loss of the last epoch is the mean over the last 15."""
    data = large_digits()
    only_training = SimpleNamespace(
        load=lambda split: data.load(split) if split == "train" else None,
        preprocess=data.preprocess,
        num_classes=data.num_classes,
    )
    settings = {"batch_size": 32, "learning_rate": 0.0125, "steps_per_execution": 15, **settings}
    return stage.train(only_training, small_resnet, epochs=4, steps_per_epoch=15, **settings)


def compressed(stage):
    """A digits classifier and a small ResNet reach with --compress what they reach without."""
    found = {}
    for compress in ("none", "int8", "topk"):
        settings = {
            "compress": compress,
            "batch_size": 64,
            "steps_per_execution": 0,
            "learning_rate": 0.1,
        }
        found[compress] = {
            "digits": stage.train(digits(), uncompiled_dense, epochs=10, **settings),
            "resnet": stage.train(large_digits(16), smaller_resnet, epochs=7, **settings),
        }
    return found
