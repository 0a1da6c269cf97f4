"""TensorFlow as its multi-worker tutorial writes it, with the Keras for which that works."""

from collections.abc import Callable

from tfscale.bench.options import Options
from tfscale.bench.profile import Profile
from tfscale.cluster import Cluster, write_tf_config


def prepare(profile: Profile, cluster: Cluster, options: Options) -> Callable[[int], None]:
    """Makes model and data in the strategy's scope, and gives `fit`."""
    import os

    write_tf_config(cluster, os.environ)
    import tensorflow as tf
    import tf_keras as keras

    from tfscale.bench import emulation

    if cluster.num_workers == 1:
        strategy = tf.distribute.get_strategy()
    else:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        model = emulation.build_model(profile, keras)
        model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse")
    global_batch = profile.examples_per_step * cluster.num_workers
    dataset = tf.data.Dataset.from_tensors((tf.ones([1]), tf.zeros([1]))).repeat()
    dataset = dataset.batch(global_batch, drop_remainder=True)

    def run(steps: int) -> None:
        model.fit(dataset, steps_per_epoch=steps, epochs=1, verbose=0)

    return run
