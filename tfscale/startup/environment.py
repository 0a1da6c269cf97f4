"""The environment that TensorFlow and Keras read once, when they are imported."""

import os
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from tfscale.cluster.cluster import Cluster
from tfscale.cluster.machines import split_address
from tfscale.cluster.tf_config import write_tf_config
from tfscale.errors import ConfigError

_HANDED_ON = "TFSCALE_HANDED_ON_"
END_RECORD = "TFSCALE_END_RECORD"  # path of what a supervised worker says of its end


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
    # NCCL has opened a port of its own in every process since 2.24, for a tool that asks who hangs.
    environ.setdefault("NCCL_RAS_ENABLE", "0")
    if cluster.num_workers > 1:
        _spare_workers_the_proxy(cluster, environ)
    # Each GPU gets launch threads of its own, so that input work can't delay a kernel's start.
    environ.setdefault("TF_GPU_THREAD_MODE", "gpu_private")


def _spare_workers_the_proxy(cluster: Cluster, environ: MutableMapping[str, str]) -> None:
    """Keeps what workers tell each other from going through http_proxy, as gRPC's other talk does.

    gRPC has a list of its own, which takes the place of no_proxy where it is set.
    """
    hosts = [split_address(address)[0].strip("[]") for address in cluster.addresses]
    spared = environ.get("no_grpc_proxy") or environ.get("no_proxy") or ""
    listed = [host for host in spared.split(",") if host]
    environ["no_grpc_proxy"] = ",".join(dict.fromkeys([*listed, *hosts]))


def take_end_record(environ: MutableMapping[str, str] = os.environ) -> Path | None:
    """Where this process says how it ended, if a supervisor has started it.

    What this process starts isn't told: it would speak for it.
    """
    path = environ.pop(END_RECORD, "")
    return Path(path) if path else None


def handing_on(variables: Mapping[str, str]) -> dict[str, str]:
    """How a process has variables in its environment that are not its own, but for a worker.

    In its arguments everybody on the machine would read them.
    """
    return {f"{_HANDED_ON}{name}": value for name, value in variables.items()}


def handed_on(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that this process has for a worker."""
    start = len(_HANDED_ON)
    return {name[start:]: value for name, value in environ.items() if name.startswith(_HANDED_ON)}


def worker_environment(
    record: Path, more: Mapping[str, str], environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """What a worker has in its environment that a launcher of another machine starts here.

    Args:
        record: where it says how it ended.
        more: what its user gives it.
        environ: of this process, without what says otherwise who the workers are.
    """
    kept = {name: value for name, value in environ.items() if name != "TF_CONFIG"}
    # Without the second one Python keeps lines back, and those of a killed worker are lost.
    return {**kept, END_RECORD: str(record), "PYTHONUNBUFFERED": "1", **more}


def has_own_thread_count(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the user says how many threads an operation may have; TensorFlow reads it itself."""
    return bool(environ.get("TF_NUM_INTRAOP_THREADS"))


def numeric_variables(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables of the environment that make TensorFlow compute other numbers, where set."""
    names = (
        *("NVIDIA_TF32_OVERRIDE", "TF_DETERMINISTIC_OPS", "TF_CUDNN_DETERMINISTIC"),
        *("TF_ENABLE_ONEDNN_OPTS", "TF_USE_CUDNN_BATCHNORM_SPATIAL_PERSISTENT"),
    )
    return {name: environ[name] for name in names if name in environ}
