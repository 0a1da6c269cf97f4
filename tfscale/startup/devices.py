"""This worker's devices, made ready before the first tensor exists.

TensorFlow fixes memory growth, thread pools and logical devices when it makes its first tensor. In
a notebook that may have been long ago: then one worker takes what is there, as far as it will do.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf

from tfscale.cluster.cluster import Cluster
from tfscale.errors import ConfigError
from tfscale.process.cores import bind, inter_op_threads, num_cores, share_of_cores
from tfscale.startup.environment import has_own_thread_count
from tfscale.startup.gpu_libraries import installed_cudnn, require_driven


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

    @property
    def num_gpus(self) -> int:
        """GPUs of this worker."""
        return self.count if self.kind == "GPU" else 0


def claim_devices(
    logical_cpus: int,
    cluster: Cluster,
    complain: Callable[[str], None],
    *,
    is_emulated: bool = False,
) -> Devices:
    """Claims this worker's devices and sets its threads.

    Args:
        logical_cpus: how many logical CPU devices to make in place of the real devices, or 0.
        cluster: whose workers may share the processors of this machine.
        complain: gets a line about what TensorFlow does not let be set any more.
        is_emulated: whether what computes only stands for a GPU, and leaves the processors as
            free as a GPU does.

    Returns:
        The devices that the strategy is to use.

    Raises:
        ConfigError: the installed cuDNN can't drive a GPU, or TensorFlow has made other logical
            devices already.
    """
    devices = _logical_cpus(logical_cpus) if logical_cpus else _physical_devices(complain)
    are_cores_free = is_emulated or devices.kind == "GPU"
    is_users_choice = has_own_thread_count()
    own_cores = share_of_cores(cluster.workers_here, cluster.index_here)
    if not are_cores_free and not is_users_choice:
        bind(own_cores)
    threads = inter_op_threads(num_cores(), are_cores_free=are_cores_free)
    # If TensorFlow runs already, it keeps the threads that it has: they only cost a little time.
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        if not is_users_choice:
            tf.config.threading.set_intra_op_parallelism_threads(num_cores())
    return devices


def is_tensorflow_running() -> bool:
    """Whether TensorFlow has made its first tensor, and with it what can't be changed any more."""
    threads = tf.config.threading.get_inter_op_parallelism_threads()
    try:
        # It says so to whoever wants to change something, and otherwise nowhere in public.
        tf.config.threading.set_inter_op_parallelism_threads(threads + 1)
    except RuntimeError:
        return True
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    return False


def set_numerics(precision: str, seed: int) -> Callable[[], None]:
    """Sets what every later tensor and random number depends on.

    Args:
        precision: a Keras dtype policy.
        seed: of Python, NumPy and TensorFlow.

    Returns:
        What sets the precision to what it was, for whoever uses Keras in this process afterwards.
    """
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()

    def restore() -> None:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)

    # Inputs and metrics follow floatx, layers the policy.
    keras.config.set_floatx("float64" if precision == "float64" else "float32")
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(seed)
    return restore


def _physical_devices(complain: Callable[[str], None]) -> Devices:
    gpus = tf.config.get_visible_devices("GPU")
    if not gpus:
        return Devices("CPU", 1, ("CPU",))
    try:
        for gpu in gpus:
            # Otherwise the first process takes the whole memory of every GPU.
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError:
        complain(
            "TensorFlow ran before this training and has taken all memory of its GPUs: other "
            "processes on them may find none. To avoid that, call tfscale.train first."
        )
    except ValueError:
        pass  # the user has given each of them a limit
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    names = tuple(detail.get("device_name", "GPU") for detail in details)
    capabilities = [detail.get("compute_capability") for detail in details]
    require_driven(zip(names, capabilities, strict=True), installed_cudnn())
    return Devices("GPU", len(gpus), names)


def _logical_cpus(count: int) -> Devices:
    with contextlib.suppress(RuntimeError):  # they stay visible, but no replica is put on them
        tf.config.set_visible_devices([], "GPU")
    (cpu,) = tf.config.list_physical_devices("CPU")
    try:
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * count
        )
    except RuntimeError as error:
        present = len(tf.config.list_logical_devices("CPU"))
        if present != count:
            others = f"use --devices={present}" if present > 1 else "leave --devices out"
            raise ConfigError(
                f"--devices={count} came too late: TensorFlow was used before in this process and "
                f"has made {present} of them; expected tfscale.train to be what uses it first. "
                f"Start a new process (in a notebook: restart the kernel), or {others}."
            ) from error
    return Devices("CPU", count, ("CPU",) * count)
