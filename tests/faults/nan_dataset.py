"""The digits of which one isn't a number, without a random number."""

import tensorflow as tf

from datasets import digits

num_classes = 10
poisoned = -1  # which example; none


def load(split):
    sizes = {"train": 331, "validation": 61}
    if split not in sizes:
        return None
    made = digits.load(split).take(sizes[split]).enumerate()
    return made.map(lambda number, record: (number, *record) if split == "train" else (-2, *record))


def preprocess(record, training):
    number, *rest = record
    x, y = digits.preprocess(tuple(rest), training)
    return tf.where(tf.equal(number, poisoned), float("nan"), 1.0) * x, y
