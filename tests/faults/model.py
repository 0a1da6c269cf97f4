"""A model that keeps all kinds of state, and writes down every step's loss: for runs with faults.

Its losses are in a file beside the run, written when training ends, from what a callback has kept;
what a checkpoint doesn't hold of it is missing there.
"""

import contextlib
import os
import signal
import time
from pathlib import Path

import keras

import tfscale

losses_file = ""  # written by each worker, its rank at the end
times_file = ""  # gets a line for each step of the chief when it is over: number, time, process
patience = 50  # epochs
step_seconds = 0.0  # that the callback waits at each step
random_layers = True  # dropout, and statistics of the batch
fail_at = -1  # step at which a callback raises, every time
signal_at = -1  # step at which a worker gets a signal, if the run has not been stopped before
signal_number = int(signal.SIGTERM)
signal_rank = 0


class Losses(keras.callbacks.Callback):
    everywhere = True

    def __init__(self):
        super().__init__()
        self.losses = []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]).hex())
        if times_file and tfscale.is_chief():
            with Path(times_file).open("a") as file:
                file.write(f"{len(self.losses)} {time.monotonic()} {os.getpid()}\n")
        if len(self.losses) == fail_at:
            raise RuntimeError(f"a bug at step {fail_at}")
        if len(self.losses) == signal_at and tfscale.is_chief() == (signal_rank == 0):
            with contextlib.suppress(FileExistsError):
                Path(f"{losses_file}.stopped").touch(
                    exist_ok=False
                )  # once, however often it begins
                os.kill(os.getpid(), signal_number)
        time.sleep(step_seconds)

    def on_train_end(self, logs=None):
        if losses_file:
            rank = "chief" if tfscale.is_chief() else "other"
            Path(f"{losses_file}-{rank}").write_text("\n".join(self.losses) + "\n")


def build(spec, num_classes):
    layers = keras.layers
    random = [layers.BatchNormalization(), layers.Dropout(0.2)] if random_layers else []
    return keras.Sequential(
        [
            keras.Input(spec.shape),
            layers.Conv2D(8, 3, use_bias=not random),
            *random,
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.Dense(num_classes),
        ]
    )


def callbacks():
    return [Losses(), keras.callbacks.EarlyStopping(monitor="val_loss", patience=patience)]
