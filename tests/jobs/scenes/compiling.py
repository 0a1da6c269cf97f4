"""Models that XLA compiles."""

from tests.jobs.scenes.examples import image_data
from tests.jobs.scenes.networks import dense, uncompiled_dense


def compiled(stage):
    """K11: XLA compiles forward and backward, the all-reduce stays outside."""
    few = {"steps_per_epoch": 10}
    return {
        "plain": stage.train(image_data(), uncompiled_dense, **few),
        "flag": stage.train(image_data(), uncompiled_dense, jit=True, **few),
        "halves": stage.train(image_data(), uncompiled_dense, jit=True, accumulate_steps=2, **few),
        "model": stage.train(image_data(is_validated=True), dense(jit_compile=True), **few),
    }


def not_compilable(stage):
    """A model with an operation that XLA doesn't have: it trains without XLA only."""
    import keras
    import tensorflow as tf

    import tfscale

    class Printed(keras.layers.Layer):
        def call(self, x):
            return x + 0.0 * tf.strings.to_number(tf.strings.as_string(x))

    def build(spec, num_classes):
        return keras.Sequential(
            [keras.Input(spec.shape), keras.layers.Flatten(), Printed(), keras.layers.Dense(4)]
        )

    plain = stage.train(image_data(), build, steps_per_epoch=2)
    try:
        stage.train(image_data(), build, steps_per_epoch=2, jit=True)
    except tfscale.ConfigError as error:
        return {"plain": plain, "compiled": str(error)}
    return {"plain": plain, "compiled": ""}
