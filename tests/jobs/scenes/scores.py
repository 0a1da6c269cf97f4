"""Figures of whole splits, which every worker has to hear: mean average precision."""

from types import SimpleNamespace

import numpy as np

from tests.jobs.scenes.examples import RAGGED

LABELS = 5


def small_detector():
    """The ready data set and model for detection, as small as a test wants them."""
    from datasets import shapes
    from models import detector

    shapes.size = 1024
    detector.width, detector.learning_rate, detector.total_steps = 16, 4e-3, 6 * 1024 // 32
    return shapes, detector


def detection(stage):
    """Learns to find shapes; Keras's own callback keeps the weights that find most."""
    import keras

    shapes, detector = small_detector()
    best = keras.callbacks.ModelCheckpoint(
        str(stage.out / "best.weights.h5"),
        "val_mean_average_precision",
        mode="max",
        save_best_only=True,
        save_weights_only=True,
    )
    settings = {"batch_size": 32, "epochs": 6, "steps_per_execution": 0}
    return stage.train(shapes, detector.build, callbacks=[best], **settings)


def several_labels(stage):
    """Several labels, of a number of examples that divides by nothing."""
    import keras
    import tensorflow as tf

    def load(split):
        return tf.data.Dataset.from_tensor_slices(labelled(split))

    def build(spec, num_classes):
        return keras.Sequential([keras.Input(spec.shape), keras.layers.Dense(num_classes)])

    splits = ("train", "validation", "test")
    data = SimpleNamespace(load=load, num_classes=LABELS, task="multilabel", splits=splits)
    return stage.train(data, build, epochs=2)


def labelled(split):
    """Features float32 (n, 7) and labels float32 (n, LABELS) of a split."""
    seed = ("train", "validation", "test").index(split)
    random = np.random.default_rng(seed)
    x = random.normal(size=(RAGGED, 7)).astype("float32")
    y = x[:, :LABELS] + random.normal(size=(RAGGED, LABELS)) > 0.3
    return x, y.astype("float32")
