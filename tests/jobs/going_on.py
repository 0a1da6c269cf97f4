"""Goes on with a training at a step: python -m tests.jobs.going_on IN OUT HOSTS RANK

IN is {"files", "first_step", "steps", "weights"}: TFRecord files of numbers, and the weights of
whoever took the steps before, or null. The weights after the steps go to OUT, by the chief.
"""

import json
import os
import sys
from types import SimpleNamespace

import numpy as np

import tfscale

NUM_EXAMPLES, GLOBAL_BATCH, RATE = 101, 12, 0.1


def _data(files):
    import tensorflow as tf

    from tfscale.data.formats import tfrecord

    def load(split):
        return tfrecord.records(files) if split == "train" else None

    def preprocess(record, training):
        number = tf.strings.to_number(record, tf.int32)
        x = tf.one_hot(number, NUM_EXAMPLES)
        return x, tf.math.sin(tf.cast(number, tf.float32))

    return SimpleNamespace(load=load, preprocess=preprocess, task="regression")


def _build(spec):
    """A number for each example, and a weight that each example changes once as it is seen."""
    import keras
    from keras import ops

    class Network(keras.Model):
        def __init__(self):
            super().__init__()
            self.seen = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
            self.hidden = keras.layers.Dense(8, activation="tanh")
            self.out = keras.layers.Dense(1)

        def call(self, x):
            return ops.concatenate([self.out(self.hidden(x)), self.seen(x)], axis=-1)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(ops.square(y - y_pred[:, 0])) + ops.mean(y_pred[:, 1])

    model = Network()
    model.build((None, *spec.shape))
    model.compile(keras.optimizers.SGD(RATE))
    return model


def main(given, out, hosts, rank):
    given = json.loads(given)
    cluster = tfscale.Cluster()
    if hosts:
        cluster = tfscale.resolve(hosts.split(","), int(rank), os.environ)
    from tfscale.cluster.role import take_part
    from tfscale.startup.environment import set_environment

    set_environment(cluster)
    take_part(cluster)
    from tfscale.fit.prepare_job import prepare
    from tfscale.startup.job import Job

    config = tfscale.Config(
        run_dir=f"{out}-run",
        batch_size=GLOBAL_BATCH,
        steps_per_epoch=given["steps"],
        steps_per_execution=1,
        seed=3,
    )
    job = Job.start(config, cluster, tfscale.Terminal())
    prepared = prepare(job, _data(given["files"]), _build)
    if given["weights"]:
        with np.load(given["weights"]) as held:
            prepared.model.set_weights([held[name] for name in held.files])
    prepared.data.training.seek(given["first_step"])
    prepared.model.fit(prepared.data.training, epochs=1, verbose=0)
    if cluster.is_chief:
        np.savez(out, *prepared.model.get_weights())
    job.board.leave()
    os._exit(0)  # TensorFlow's threads may wait for each other at a normal exit


if __name__ == "__main__":
    main(*sys.argv[1:])
