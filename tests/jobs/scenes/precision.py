"""Mixed precision and its loss scale."""

from types import SimpleNamespace

import numpy as np

from tests.jobs.scenes.examples import GLOBAL_BATCH, image_data, training_order
from tests.jobs.scenes.networks import convolutions


def mixed_bfloat16(stage):
    """Layers compute in bfloat16."""
    return _mixed(stage, "mixed_bfloat16")


def mixed_float16(stage):
    """Layers compute in float16, and the loss is scaled."""
    return _mixed(stage, "mixed_float16")


def _mixed(stage, precision):
    data, build = image_data(is_validated=True), convolutions(jit_compile=False)
    return stage.train(data, build, epochs=2, precision=precision)


def overflow(stage):
    """K4: one example, which lands on one replica other than the first, has infinite gradients."""
    # A pass is one batch, and the example at its end belongs to the last replica.
    last = int(training_order(GLOBAL_BATCH)[0, -1])
    return {"overflow": _exploding_at(stage, last), "calm": _exploding_at(stage, -1)}


def _exploding_at(stage, where):
    import keras
    import tensorflow as tf

    class Explosive(keras.layers.Layer):
        """Passes on what it gets; its gradient is infinite where an input is above 100."""

        def call(self, inputs):
            @tf.custom_gradient
            def explode(x):
                def gradient(upstream):
                    factor = tf.where(tf.reduce_max(x) > 100, np.inf, 1.0)
                    return upstream * tf.cast(factor, upstream.dtype)

                return tf.identity(x), gradient

            return explode(inputs)

    def load(split):
        return tf.data.Dataset.range(GLOBAL_BATCH) if split == "train" else None

    def preprocess(record, training):
        x = tf.cast(record, tf.float32)[tf.newaxis]
        x = tf.where(record == where, 1000.0, x / GLOBAL_BATCH)
        return x, 0.1 * tf.ones([1])

    def build(spec):
        model = keras.Sequential(
            [keras.Input((1,)), keras.layers.Dense(1), Explosive(), keras.layers.Dense(1)]
        )
        model.compile(optimizer=keras.optimizers.SGD(0.01), loss="mse")
        return model

    def state(model):
        return {
            "scale": float(model.optimizer.dynamic_scale.numpy()),
            "iterations": int(model.optimizer.iterations.numpy()),
        }

    data = SimpleNamespace(load=load, preprocess=preprocess, task="regression")
    return stage.train(data, build, at_end=state, precision="mixed_float16")
