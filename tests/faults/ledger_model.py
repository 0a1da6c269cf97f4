"""A weight for each example, from which a step takes one when it sees that example."""

import contextlib
import os
import signal
from pathlib import Path

import keras

import tfscale

stops = ""  # steps at which the chief is stopped, each once, such as "3,5"
folder = ""  # where it is noted that it was


class Stops(keras.callbacks.Callback):
    everywhere = True

    def __init__(self):
        super().__init__()
        self.steps = 0

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        if tfscale.is_chief() and str(self.steps) in stops.split(","):
            with contextlib.suppress(FileExistsError):
                Path(folder, f"stopped-{self.steps}").touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGTERM)


class Counts(keras.Model):
    def __init__(self):
        super().__init__()
        self.seen = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")

    def call(self, x):
        return self.seen(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return keras.ops.mean(y_pred)


def build(spec):
    model = Counts()
    model.build((None, *spec.shape))
    model.compile(keras.optimizers.SGD(12.0))  # the batch: a step takes exactly 1
    return model


def callbacks():
    return [Stops()]
