"""The digits, of which one isn't a number."""

import tensorflow as tf

from datasets import digits

num_classes = 10
poisoned = -1  # which example of training; none


def load(split):
    sizes = {"train": 331, "validation": 61}
    if split not in sizes:
        return None
    first = 0 if split == "train" else 10_000
    return digits.load(split).take(sizes[split]).enumerate(first)


def preprocess(record, training):
    number, digit = record
    x, y = digits.preprocess(digit, training)
    is_bad = tf.equal(number, tf.constant(poisoned, tf.int64))
    return tf.where(is_bad, float("nan"), 1.0) * x, y
