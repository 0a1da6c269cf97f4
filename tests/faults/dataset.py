"""The digits, augmented at random."""

import tensorflow as tf

from datasets import digits

num_classes = 10


def load(split):
    sizes = {"train": 331, "validation": 61}
    return digits.load(split).take(sizes[split]) if split in sizes else None


def preprocess(record, training, seed):
    x, y = digits.preprocess(record, training)
    if training:
        x = x + tf.random.stateless_normal(tf.shape(x), seed, stddev=0.1)
    return x, y
