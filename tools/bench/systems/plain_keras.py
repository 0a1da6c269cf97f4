"""Keras 3's own `fit` in one process: what a single device can do without this project."""

from collections.abc import Callable

from tfscale.errors import ConfigError
from tfscale.startup import environment as device_setup
from tools.bench.task import Task
from tools.bench.workloads import workload as workloads


def prepare(task: Task) -> Callable[[int], None]:
    """Makes model and data on one device, and gives `fit`.

    Raises:
        ConfigError: several workers or a model file, which it doesn't take.
    """
    if task.hosts or task.dataset:
        raise ConfigError(
            "--systems=plain_keras trains in one process, and no model file; expected --workers=1 "
            "or --gpus=1, and a model by its name. Leave plain_keras out."
        )
    device_setup.set_environment(task.cluster)
    import keras
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)  # others are measured beside it
    keras.config.set_dtype_policy(task.options.precision)
    workload = workloads.load(task)
    model = workload.keras_model(keras)
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    model.compile(optimizer, workload.loss, jit_compile=bool(task.options.jit))
    dataset = tf.data.Dataset.from_tensor_slices(workload.batch()).cache().repeat()
    dataset = dataset.batch(workload.examples_per_step, drop_remainder=True)
    dataset = dataset.prefetch(tf.data.AUTOTUNE)

    def run(steps: int) -> None:
        model.fit(dataset, steps_per_epoch=steps, epochs=1, verbose=0)

    return run
