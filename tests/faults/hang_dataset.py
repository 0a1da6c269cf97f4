"""The digits, of which one worker's input hangs or is slow from some example on."""

import sys
import time

import tensorflow as tf

import tfscale
from datasets import digits

num_classes = 10
hang_at = -1  # how many examples the worker gets before its input hangs; -1 for never
slow_at = -1  # likewise, before each takes slow_seconds
slow_seconds = 0.0
at_worker = 1
load_seconds = 0.0  # that load takes on the worker
_seen = [0]


def _say():
    sys.stdout.write(f"hangs at {time.time()}\n")
    sys.stdout.flush()


def _is_here():
    return tfscale.is_chief() == (at_worker == 0)


def load(split):
    sizes = {"train": 640, "validation": 64}
    if split in sizes and _is_here():
        time.sleep(load_seconds)
    return digits.load(split).take(sizes[split]) if split in sizes else None


def preprocess(record, training):
    x, y = digits.preprocess(record, training)
    if not (training and _is_here() and max(hang_at, slow_at) >= 0):
        return x, y

    def wait(x):
        _seen[0] += 1
        if 0 <= hang_at < _seen[0]:
            _say()
            time.sleep(10_000)
        if 0 <= slow_at < _seen[0]:
            time.sleep(slow_seconds)
        return x

    waited = tf.py_function(wait, [x], x.dtype)
    waited.set_shape(x.shape)
    return waited, y
