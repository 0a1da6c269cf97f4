"""This worker's devices, made ready before the first tensor exists.

TensorFlow fixes memory growth, thread pools and logical devices when it makes its first tensor,
and Keras fixes its backend when it is imported. So this module imports neither at its top.
"""

import os
import sys
from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import dataclass

from tfscale.cluster import Cluster, write_tf_config
from tfscale.config import Config, ConfigError

_INTRA_OP_THREADS = "TF_NUM_INTRAOP_THREADS"
_SPARE_THREADS = 4


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


def check_environment(environ: Mapping[str, str] = os.environ) -> None:
    """Refuses settings under which Keras 3 on TensorFlow is not what gets imported.

    Raises:
        ConfigError: another backend, or Keras 2 in its place.
    """
    backend = environ.get("KERAS_BACKEND", "tensorflow")
    if "keras" in sys.modules:
        backend = sys.modules["keras"].config.backend()
    if backend != "tensorflow":
        raise ConfigError(
            f"KERAS_BACKEND={backend} is set; expected tensorflow, which is what is distributed "
            "here. Type: unset KERAS_BACKEND"
        )
    legacy = environ.get("TF_USE_LEGACY_KERAS", "")
    if legacy.lower() not in ("", "0", "false"):
        raise ConfigError(
            f"TF_USE_LEGACY_KERAS={legacy} is set, which puts Keras 2 in the place of Keras 3; "
            "expected it to be unset. Type: unset TF_USE_LEGACY_KERAS"
        )


def set_environment(cluster: Cluster, environ: MutableMapping[str, str] = os.environ) -> None:
    """Sets what TensorFlow and Keras read: once, when they are imported, or with the strategy."""
    write_tf_config(cluster, environ)
    # Without it a file in the user's home may name another backend.
    environ.setdefault("KERAS_BACKEND", "tensorflow")
    # Each GPU gets launch threads of its own, so that input work can't delay a kernel's start.
    environ.setdefault("TF_GPU_THREAD_MODE", "gpu_private")


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


def inter_op_threads(cores: int, *, are_cores_free: bool) -> int:
    """How many operations may run at the same time.

    Beside a GPU, short work that others wait for (a bucket to send, a kernel to launch) must not
    queue behind long work, so there are more threads than cores. Where the cores compute, more
    threads only interrupt each other: two workers' step of 1.5 ms then takes 1.7.

    Args:
        cores: that this process may run on.
        are_cores_free: whether something else than they computes.
    """
    return cores + _SPARE_THREADS if are_cores_free else max(2, cores)


def own_cores(cores: Collection[int], of_machine: int, workers: int, index: int) -> set[int]:
    """The cores of this process alone, where several workers compute on those of one machine.

    In every step each waits for the slowest. Where all of them wander over all cores they interrupt
    each other, and wake each other's threads on cores that are busy: a step of 1.0 ms takes 1.45.

    Args:
        cores: that this process may run on.
        of_machine: number of cores of the machine.
        workers: on this machine.
        index: of this one among them.

    Returns:
        An equal part of the cores, or one of them where there are more workers. All where there
        are fewer than the machine has: a scheduler has dealt them out already.
    """
    ordered = sorted(cores)
    if len(ordered) < of_machine:
        return set(ordered)
    if workers >= len(ordered):
        return {ordered[index % len(ordered)]}
    edges = [len(ordered) * place // workers for place in (index, index + 1)]
    return set(ordered[edges[0] : edges[1]])


def share_of_cores(workers: int, index: int) -> set[int]:
    """What `own_cores` says of this process's cores."""
    return own_cores(_cores(), os.cpu_count() or 1, workers, index)


def num_cores() -> int:
    """How many cores this thread may run on."""
    return len(_cores())


def _bind(cores: Collection[int]) -> None:
    """Keeps this thread, and those that it makes from now on, to some cores where that exists."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def _cores() -> Collection[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return range(os.cpu_count() or 1)


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
