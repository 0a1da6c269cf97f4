"""Numbers from 0 on in a stream whose order is left to threads, in one way or another."""

import queue
import threading
import time

import numpy as np
import tensorflow as tf

kind = "tf.data"
size = 120
task = "regression"


def _slowly(number):
    time.sleep(0.004 * np.random.default_rng().random())
    return number


def _late(number):
    number = tf.numpy_function(_slowly, [number], tf.int64, stateful=False)
    return tf.ensure_shape(number, [])


def _of_tf_data():
    """A map within an interleave, both in any order, with an option that says so again."""
    options = tf.data.Options()
    options.deterministic = False
    parts = tf.data.Dataset.range(8)
    read = parts.interleave(
        lambda part: tf.data.Dataset.range(part * size // 8, (part + 1) * size // 8).map(
            _late, num_parallel_calls=2, deterministic=False
        ),
        cycle_length=4,
        num_parallel_calls=4,
        deterministic=False,
    )
    return read.filter(lambda number: number >= 0).with_options(options)


def _numbers():
    """The first ones in order; then whatever thread comes first."""
    yield from range(20)
    done = queue.Queue()

    def work(first):
        for number in range(first, size, 4):
            done.put(_slowly(number))

    for first in range(20, 24):
        threading.Thread(target=work, args=(first,), daemon=True).start()
    for _ in range(20, size):
        yield done.get()


def load(split):
    if split != "train":
        return None
    if kind == "tf.data":
        return _of_tf_data()
    return tf.data.Dataset.from_generator(_numbers, output_signature=tf.TensorSpec([], tf.int64))


def preprocess(record, training):
    return tf.one_hot(record, size), tf.zeros([])
