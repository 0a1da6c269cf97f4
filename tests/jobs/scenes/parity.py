"""Whole trainings, whose every number must be that of one worker."""

from types import SimpleNamespace

import numpy as np

from tests.jobs.scenes.examples import NUM_EXAMPLES, RAGGED, image_data, images
from tests.jobs.scenes.networks import convolutions, uncompiled_dense


def parity_float32(stage):
    """Trains, validates, evaluates and predicts in float32."""
    data = image_data(is_validated=True)
    return stage.train(data, convolutions(), at_end=_judge, epochs=2)


def parity_float64(stage):
    """The same in float64, where nothing but the order of sums is left to differ."""
    data = image_data(is_validated=True)
    return stage.train(data, convolutions(), at_end=_judge, epochs=2, precision="float64")


def _judge(model):
    """Evaluation and prediction of sets whose size divides by nothing."""
    x, y = images(RAGGED, seed=2)
    few, few_labels = x[:3], y[:3]
    return {
        "evaluated": model.evaluate(x, y, verbose=0, return_dict=True),
        "predicted": model.predict(x, verbose=0),
        "evaluated_few": model.evaluate(few, few_labels, verbose=0, return_dict=True),
        "predicted_few": model.predict(few, verbose=0),
    }


def optimizers(stage):
    """Every optimizer of the flags."""
    return {
        name: stage.train(image_data(), uncompiled_dense, steps_per_epoch=8, optimizer=name)
        for name in ("sgd", "adamw", "lamb", "lars")
    }


def loops(stage):
    """K10: the loop chooses its length, and its length changes no result."""
    build = convolutions()
    return {
        "single": stage.train(image_data(), build, epochs=2),
        "chosen": stage.train(image_data(), build, epochs=2, steps_per_execution=0),
        "seven": stage.train(image_data(), build, epochs=2, steps_per_execution=7),
    }


def own_train_step(stage):
    """A subclassed model with a train_step of its own, and a log that is no metric."""
    import keras

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.flatten, self.dense = keras.layers.Flatten(), keras.layers.Dense(4)

        def call(self, x):
            return self.dense(self.flatten(x))

        def train_step(self, data):
            import tensorflow as tf

            x, y = data
            with tf.GradientTape() as tape:
                loss = self.compute_loss(x, y, self(x, training=True))
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            return {"own_loss": loss}

    def build(spec):
        model = Own()
        model.compile(
            optimizer=keras.optimizers.SGD(0.05, momentum=0.9),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        return model

    return stage.train(image_data(is_validated=True), build, epochs=1)


def several_inputs(stage):
    """K2, K13: dict inputs (int64, string), two outputs and losses, weights, AUC, precision."""
    import keras
    import tensorflow as tf

    words = ["red", "green", "blue"]

    def load(split):
        size = RAGGED if split == "validation" else NUM_EXAMPLES
        random = np.random.default_rng(5 if split == "train" else 6)
        number, word = random.integers(0, 10, size), random.integers(0, 3, size)
        likely = ((number + 3 * word + random.normal(size=size)) > 8).astype("int64")
        return tf.data.Dataset.from_tensor_slices(
            {
                "number": number,
                "word": np.array(words)[word],
                "likely": likely,
                "sum": 0.1 * (number + word).astype("float32"),
                "weight": random.uniform(0.5, 1.5, size).astype("float32"),
            }
        )

    def preprocess(record, training):
        x = {"number": record["number"], "word": record["word"]}
        y = {"likely": record["likely"][tf.newaxis], "sum": record["sum"][tf.newaxis]}
        return x, y, {"likely": record["weight"], "sum": record["weight"]}

    def build(spec):
        number = keras.Input((), dtype="int64", name="number")
        word = keras.Input((), dtype="string", name="word")
        code = keras.layers.StringLookup(vocabulary=words)(word)
        x = keras.layers.Concatenate()(
            [keras.layers.Embedding(10, 4)(number), keras.layers.Embedding(4, 4)(code)]
        )
        x = keras.layers.Dense(8, activation="relu")(x)
        outputs = {
            "likely": keras.layers.Dense(1, activation="sigmoid", name="likely")(x),
            "sum": keras.layers.Dense(1, name="sum")(x),
        }
        model = keras.Model({"number": number, "word": word}, outputs)
        model.compile(
            optimizer=keras.optimizers.SGD(0.02, momentum=0.9),
            loss={"likely": "binary_crossentropy", "sum": "mean_squared_error"},
            metrics={"likely": [keras.metrics.Precision(name="precision")]},
            weighted_metrics={"likely": [keras.metrics.AUC(name="auc")]},
        )
        return model

    data = SimpleNamespace(
        load=load,
        preprocess=preprocess,
        task="regression",
        class_weight={"likely": {0: 1.0, 1: 3.0}},
    )
    return stage.train(data, build, epochs=2)
