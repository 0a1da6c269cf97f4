"""The digits, augmented at random; an injected hang of the input happens here."""

import contextlib
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from datasets import digits

num_classes = 10
hang_file = ""  # whoever finds it takes it away, and hangs


def load(split):
    sizes = {"train": 331, "validation": 61}
    return digits.load(split).take(sizes[split]) if split in sizes else None


def _hang_if_told():
    with contextlib.suppress(OSError):
        Path(hang_file).unlink()
        time.sleep(1e6)
    return np.float32(0)


def preprocess(record, training, seed):
    x, y = digits.preprocess(record, training)
    if training:
        x = x + tf.random.stateless_normal(tf.shape(x), seed, stddev=0.1)
        if hang_file:
            x = x + tf.ensure_shape(tf.numpy_function(_hang_if_told, [], tf.float32), ())
    return x, y
