"""TensorFlow as its multi-worker tutorial writes it, with the Keras for which that works."""

from collections.abc import Callable

from tfscale.startup import environment as device_setup
from tools.bench.task import Task
from tools.bench.workloads import workload as workloads


def prepare(task: Task) -> Callable[[int], None]:
    """Makes model and data in the strategy's scope, and gives `fit`."""
    device_setup.set_environment(task.cluster)
    import tensorflow as tf
    import tf_keras as keras

    if task.cluster.num_workers == 1:
        gpus = tf.config.list_physical_devices("GPU")
        strategy = tf.distribute.MirroredStrategy() if gpus else tf.distribute.get_strategy()
    else:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    workload = workloads.load(task)
    with strategy.scope():
        model = workload.keras_model(keras)
        model.compile(keras.optimizers.SGD(0.01, momentum=0.9), workload.loss)
    global_batch = workload.examples_per_step * strategy.num_replicas_in_sync
    dataset = tf.data.Dataset.from_tensor_slices(workload.batch()).cache().repeat()
    dataset = dataset.batch(global_batch, drop_remainder=True)

    def run(steps: int) -> None:
        model.fit(dataset, steps_per_epoch=steps, epochs=1, verbose=0)

    return run
