"""A model that keeps all kinds of state, and writes down every step's loss: for runs with faults.

Its losses are in a file beside the run, written when training ends, from what a callback
has kept; what a checkpoint doesn't hold of it is missing there.
"""

import time
from pathlib import Path

import keras

losses_file = ""  # path of the file
step_seconds = 0.0  # that the callback waits at each step
fail_at = -1  # step at which a callback raises, every time


class Losses(keras.callbacks.Callback):
    everywhere = True

    def __init__(self):
        super().__init__()
        self.losses = []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]).hex())
        if len(self.losses) == fail_at:
            raise RuntimeError(f"a bug at step {fail_at}")
        time.sleep(step_seconds)

    def on_train_end(self, logs=None):
        if losses_file:
            Path(losses_file).write_text("\n".join(self.losses) + "\n")


def build(spec, num_classes):
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input(spec.shape),
            layers.Conv2D(8, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.2),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(num_classes),
        ]
    )
    return model


def callbacks():
    return [Losses(), keras.callbacks.EarlyStopping(monitor="val_loss", patience=50)]
