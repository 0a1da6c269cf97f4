"""This worker's devices, made ready before the first tensor exists.

TensorFlow fixes memory growth, thread pools and logical devices when it makes its first tensor,
and Keras fixes its backend when it is imported. So this module imports neither at its top.
"""

import os
from dataclasses import dataclass

from tfscale.cluster.cluster import Cluster
from tfscale.config import Config
from tfscale.process.cores import _bind, inter_op_threads, num_cores, share_of_cores
from tfscale.startup.environment import _INTRA_OP_THREADS


@dataclass(frozen=True)
class Devices:
    """What this worker computes on.

    Args:
        kind: "GPU" or "CPU".
        count: devices, each of which holds a replica of the model.
        names: what the hardware is called, for the reader.
    """

    kind: str
    count: int
    names: tuple[str, ...]


def prepare(config: Config, cluster: Cluster, *, is_emulated: bool = False) -> Devices:
    """Claims this worker's devices and sets threads, precision and seed.

    Args:
        config: `devices` asks for logical CPU devices instead of the real ones.
        cluster: whose workers may share the processors of this machine.
        is_emulated: whether what computes only stands for a GPU, and leaves the processors as
            free as a GPU does.

    Returns:
        The devices that the strategy is to use.
    """
    import keras
    import tensorflow as tf

    devices = _logical_cpus(config.devices) if config.devices else _physical_devices()
    are_cores_free = is_emulated or devices.kind == "GPU"
    is_users_choice = bool(os.environ.get(_INTRA_OP_THREADS))  # which TensorFlow reads by itself
    if not are_cores_free and not is_users_choice:
        _bind(share_of_cores(cluster.workers_here, cluster.index_here))
    threads = inter_op_threads(num_cores(), are_cores_free=are_cores_free)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    if not is_users_choice:
        tf.config.threading.set_intra_op_parallelism_threads(num_cores())
    # Inputs and metrics follow floatx, layers the policy.
    keras.config.set_floatx("float64" if config.precision == "float64" else "float32")
    keras.config.set_dtype_policy(config.precision)
    keras.utils.set_random_seed(config.seed)
    return devices


def _physical_devices() -> Devices:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return Devices("CPU", 1, ("CPU",))
    for gpu in gpus:
        # Otherwise the first process takes the whole memory of every GPU.
        tf.config.experimental.set_memory_growth(gpu, True)
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    return Devices("GPU", len(gpus), tuple(detail.get("device_name", "GPU") for detail in details))


def _logical_cpus(count: int) -> Devices:
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * count
    )
    return Devices("CPU", count, ("CPU",) * count)
