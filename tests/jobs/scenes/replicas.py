"""What each replica has for itself: batch statistics and random states."""

from types import SimpleNamespace

from tests.jobs.scenes.examples import NUM_EXAMPLES


def statistics(stage):
    """K5: every replica sees another constant; what is saved is the mean of their statistics."""
    import keras

    def build(spec):
        return keras.Sequential(
            [
                keras.Input((1,)),
                keras.layers.BatchNormalization(momentum=0.5, name="norm"),
                keras.layers.Dense(1),
            ]
        )

    def saved(model):
        return {"moving_mean": model.get_layer("norm").moving_mean.numpy()}

    still = {"learning_rate": 1e-9, "schedule": "constant"}
    data = _own_numbers(NUM_EXAMPLES)
    return stage.train(data, build, at_end=saved, steps_per_epoch=1, **still)


def dropout(stage):
    """Replicas drop different units: the same input gives another output on each."""
    import keras
    import tensorflow as tf

    class Seen(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.drop = keras.layers.Dropout(0.5, seed=1)

        def build(self, shape):
            self.kept = self.add_weight(shape=(32,), trainable=False, initializer="zeros")
            self.scale = self.add_weight(shape=(), initializer="ones")

        def call(self, x, training=False):
            dropped = self.drop(tf.ones([1, 32]), training=training)[0]
            if training:
                self.kept.assign(dropped)
            return x * self.scale

    def build(spec):
        return keras.Sequential([keras.Input((1,)), Seen()])

    def kept(model):
        return {"kept": model.layers[-1].kept.numpy()}

    return stage.train(_own_numbers(64), build, at_end=kept, steps_per_epoch=1)


def _own_numbers(count):
    """Examples that are their own number, and their own label."""
    import tensorflow as tf

    def load(split):
        return tf.data.Dataset.range(count) if split == "train" else None

    def preprocess(record, training):
        x = tf.cast(record, tf.float32)[tf.newaxis]
        return x, x

    return SimpleNamespace(load=load, preprocess=preprocess, task="regression")
