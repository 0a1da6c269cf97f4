"""What plain Keras does on two replicas: python -m tests.jobs.stock_keras OUT [RANK HOST...]

Nothing of tfscale is imported. Each function shows one defect, and gives what can be written as
JSON: to the folder OUT, from two devices of one process, or from a worker of a cluster.
"""

import json
import os
import sys
import time
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

_COMPANY_SECONDS = 30.0


def _on_both(strategy, function):
    """What each replica gives, called with its number."""

    def on_one():
        return function(tf.distribute.get_replica_context().replica_id_in_sync_group)

    both = strategy.experimental_local_results(strategy.run(tf.function(on_one)))
    return [float(one) for one in both]


def _error_of(function):
    try:
        function()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def losses(strategy):
    """The same mean in several spellings, on each of two replicas."""
    rows = tf.constant([1.0, 3.0])
    spellings = {
        "of Keras": lambda _: keras.losses.MeanSquaredError()(rows[:, None], 0.0 * rows[:, None]),
        "by hand": lambda _: tf.reduce_mean(tf.square(rows)),
        "average": lambda _: tf.nn.compute_average_loss(tf.square(rows)),
        "of weights": lambda _: tf.nn.scale_regularization_loss(5.0),
    }
    return {name: _on_both(strategy, one) for name, one in spellings.items()}


def uneven(strategy):
    """Means over two replicas of which the second one has less to tell, where all have a mean of 2.

    The rows of the first are 1, 1, 1, those of the second 5 and, where three are needed, two that
    don't count.
    """
    squared = keras.losses.MeanSquaredError(reduction="mean")
    weighted = keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")
    with strategy.scope():
        metric = keras.metrics.Mean()
    rows, counts = tf.constant([[1.0] * 3, [5.0, 0.0, 0.0]]), tf.constant([[1.0] * 3, [1.0, 0, 0]])

    def masked(number):
        guess = tf.sqrt(rows[number])[:, None]
        guess._keras_mask = counts[number] > 0
        return squared(0.0 * guess, guess)

    def weights(number):
        guess = tf.sqrt(rows[number])[:, None]
        return weighted(0.0 * guess, guess, sample_weight=counts[number])

    def told(number):
        metric.update_state(tf.reduce_sum(rows[number]) / tf.reduce_sum(counts[number]))
        return 0.0

    _on_both(strategy, told)
    # What replicas give is summed.
    return {
        "of a mask": sum(_on_both(strategy, masked)),
        "of weights": sum(_on_both(strategy, weights)),
        "of numbers": float(metric.result()),
    }


def _applied(strategy, optimizer, gradient):
    """A weight of 0 after a step with the gradients that the replicas have."""
    with strategy.scope():
        weight = keras.Variable(tf.zeros([1]))
        made = optimizer()
        made.build([weight])

    def step(number):
        made.apply([gradient(tf.cast(number, tf.float32))[None]], [weight])
        return tf.constant(0.0)

    _on_both(strategy, step)
    return float(strategy.experimental_local_results(weight.value)[0][0])


def clipping(strategy):
    """A weight after two gradients of 0.6, whose sum is clipped at 1."""
    clipped = partial(keras.optimizers.SGD, 1.0, clipvalue=1.0)
    return _applied(strategy, clipped, lambda number: 0.6 + 0.0 * number)


def overflow(strategy):
    """A weight after a gradient that overflows on the second replica alone."""
    moved = _applied(
        strategy,
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0)),
        lambda number: tf.where(number > 0, np.inf, 1.0),
    )
    return "finite" if np.isfinite(moved) else "not finite"


def average_of_weights(strategy):
    """An optimizer that now and then sets weights to their averages."""
    averaging = partial(keras.optimizers.SGD, 1.0, use_ema=True, ema_overwrite_frequency=2)
    return _error_of(lambda: _applied(strategy, averaging, lambda number: 0.6 + 0.0 * number))


def words(strategy):
    """A model of words."""
    with strategy.scope():
        looked_up = keras.layers.StringLookup(vocabulary=["a", "b"])
        x = keras.Input((1,), dtype="string")
        y = keras.layers.Dense(1)(keras.layers.Embedding(3, 2)(looked_up(x)))
        model = keras.Model(x, y)
        model.compile("sgd", "mse")
    data = tf.data.Dataset.from_tensor_slices(([["a"], ["b"]], [[[0.0]], [[1.0]]])).batch(2)
    return _error_of(lambda: model.fit(data, verbose=0))


def numbers(strategy):
    """A model of numbers."""
    with strategy.scope():
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
    data = tf.data.Dataset.from_tensor_slices(([[1.0], [2.0]], [[0.0], [1.0]])).batch(2)
    return _error_of(lambda: model.fit(data, verbose=0))


def main(out, rank=0, *hosts):
    """Writes what each function gave, when every worker has something to write."""
    if hosts:
        task = {"type": "worker", "index": int(rank)}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": hosts}, "task": task})
        shown, strategy = (numbers,), tf.distribute.MultiWorkerMirroredStrategy()
    else:
        shown = (losses, uneven, clipping, overflow, average_of_weights, words, numbers)
        cpus = tf.config.list_physical_devices("CPU")
        halves = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpus[0], halves)
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    found = {one.__name__: one(strategy) for one in shown}
    Path(out, f"{rank}.json").write_text(json.dumps(found))
    # A worker that ends fails what the others are about to show.
    until = time.monotonic() + _COMPANY_SECONDS
    while len(list(Path(out).glob("*.json"))) < len(hosts) and time.monotonic() < until:
        time.sleep(0.1)
    os._exit(0)  # TensorFlow's threads may wait for each other at a normal exit


if __name__ == "__main__":
    main(*sys.argv[1:])
