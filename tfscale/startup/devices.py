"""This worker's devices, made ready before the first tensor exists.

TensorFlow fixes memory growth, thread pools and logical devices when it makes its first tensor. In
a notebook that may have been long ago: then one worker takes what is there, as far as it will do.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from tfscale.cluster.cluster import Cluster
from tfscale.errors import ConfigError
from tfscale.process.cores import (
    bind,
    binding_complaint,
    inter_op_threads,
    keep_near,
    num_cores,
    share_of_cores,
)
from tfscale.startup.environment import has_own_thread_count
from tfscale.startup.gpu_libraries import installed_cudnn, require_driven
from tfscale.startup.gpu_shares import Gpu, share_of_gpus, visible_gpus


@dataclass(frozen=True)
class Devices:
    """What this worker computes on.

    Args:
        kind: "GPU" or "CPU".
        count: devices, each of which holds a replica of the model.
        names: what the hardware is called, for the reader.
        gpus: which they are; none where nobody knows.
    """

    kind: str
    count: int
    names: tuple[str, ...]
    gpus: tuple[Gpu, ...] = ()

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
    if cluster.num_workers > 1 and (words := binding_complaint(cluster.workers_here)):
        complain(words)
    if not are_cores_free and not is_users_choice:
        bind(own_cores)
    _set_threads(are_cores_free=are_cores_free)
    return devices


def take_share(
    devices: Devices, seen: Sequence[Sequence[str]], cluster: Cluster, *, may_share: bool
) -> Devices:
    """Leaves other workers their part of the GPUs that they see too; before the first tensor.

    Args:
        devices: those that this worker sees.
        seen: UUIDs of the GPUs that each worker sees, in the order of the ranks.
        cluster: who the workers are.
        may_share: as of `share_of_gpus`.

    Returns:
        This worker's own.

    Raises:
        ConfigError: the GPUs can't be dealt out.
    """
    places = share_of_gpus(seen, cluster.index, may_share=may_share)
    if not devices.gpus:
        return devices
    gpus = tf.config.get_visible_devices("GPU")
    tf.config.set_visible_devices([gpus[place] for place in places], "GPU")
    names = tuple(devices.names[place] for place in places)
    own = tuple(devices.gpus[place] for place in places)
    if cluster.workers_here > 1:
        keep_near([gpu.pci for gpu in own])
        _set_threads(are_cores_free=True)
    return Devices("GPU", len(own), names, own)


def _set_threads(*, are_cores_free: bool) -> None:
    """As many as there are cores for; if TensorFlow runs already, it keeps what it has."""
    threads = inter_op_threads(num_cores(), are_cores_free=are_cores_free)
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        if not has_own_thread_count():
            tf.config.threading.set_intra_op_parallelism_threads(num_cores())


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
    physical, seen = tf.config.list_physical_devices("GPU"), visible_gpus()
    is_known = len(seen) == len(physical)
    known = tuple(seen[physical.index(gpu)] for gpu in gpus) if is_known else ()
    return Devices("GPU", len(gpus), names, known)


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
