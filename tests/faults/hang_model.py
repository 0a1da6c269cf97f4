"""A model that hangs on one worker: for runs that must end with its name.

`hang` says where: "callback", "lock" (Python's lock is held in C), "step" (a layer), "validation"
(a callback there), or "leave" (one worker alone stops training, and none hangs).
"""

import ctypes
import sys
import time

import keras
import tensorflow as tf

import tfscale

hang = ""
at_step = 5
at_worker = 1
slow_seconds = 0.0  # that a layer of the worker takes at each step, from at_step on
every_step = True  # whether Python is entered after each of them
_FOR_EVER = 10_000


def _say():
    sys.stdout.write(f"hangs at {time.time()}\n")
    sys.stdout.flush()


def _is_here():
    return tfscale.is_chief() == (at_worker == 0)


class Hanging(keras.callbacks.Callback):
    everywhere = True

    def __init__(self):
        super().__init__()
        self.every_batch = every_step
        self.steps = 0

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        if not _is_here() or self.steps != at_step:
            return
        if hang:
            _say()
        if hang == "callback":
            time.sleep(_FOR_EVER)
        elif hang == "lock":
            ctypes.PyDLL(None).sleep(_FOR_EVER)
        elif hang == "leave":
            self.model.stop_training = True

    def on_test_batch_end(self, batch, logs=None):
        if hang == "validation" and _is_here():
            _say()
            time.sleep(_FOR_EVER)


class Slow(keras.layers.Layer):
    """Takes its time on one worker."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def call(self, x, training=None):
        if not (training and _is_here() and (slow_seconds or hang == "step")):
            return x

        def wait(x):
            self.calls += 1
            if self.calls >= at_step:
                if hang == "step":
                    _say()
                time.sleep(_FOR_EVER if hang == "step" else slow_seconds)
            return x

        y = tf.py_function(wait, [x], x.dtype)
        y.set_shape(x.shape)
        return y


def build(spec, num_classes):
    layers = keras.layers
    return keras.Sequential(
        [keras.Input(spec.shape), layers.Flatten(), Slow(), layers.Dense(num_classes)]
    )


def callbacks():
    return [Hanging()]
