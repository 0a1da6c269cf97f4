"""From the cluster to TensorFlow's strategy: one worker or many, and never a silent wait."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import tensorflow as tf
from tensorflow.python.distribute import collective_all_reduce_strategy

from tfscale.cluster import Cluster
from tfscale.config import Config, ConfigError
from tfscale.devices import Devices
from tfscale.failures import START_TIMEOUT_CODE

_PROGRESS_SECONDS = 5.0
# A process has one strategy: the collectives of a second one would take the numbers of the first.
_made: dict[tuple[Cluster, Devices, str], tf.distribute.Strategy] = {}


def collectives_for(config: Config, devices: Devices, num_workers: int) -> str:
    """Names how gradients are summed: "nccl", "ring", or "none" for a single replica.

    Raises:
        ConfigError: NCCL was asked for where there is no GPU.
    """
    if num_workers * devices.count == 1:
        return "none"
    if config.collectives == "nccl" and devices.kind != "GPU":
        raise ConfigError(
            "--collectives=nccl needs GPUs and this worker has none; expected auto or ring. "
            "Use --collectives=auto."
        )
    if config.collectives != "auto":
        return config.collectives
    return "nccl" if devices.kind == "GPU" else "ring"


def create(
    config: Config, cluster: Cluster, devices: Devices, complain: Callable[[str], None]
) -> tf.distribute.Strategy:
    """Makes the strategy; with several workers it returns when all of them have arrived.

    A missing worker is named every few seconds, and after `config.start_timeout` seconds this
    process ends with a code that says "try again": TensorFlow's constructor can't be interrupted.
    A second run in the same process gets the strategy of the first.

    Args:
        config: collectives and the start timeout.
        cluster: who the workers are, as `TF_CONFIG` says it too.
        devices: what `devices.prepare` gave.
        complain: gets the lines about workers that are waited for.

    Raises:
        ConfigError: an earlier run of this process had other workers, devices or collectives.
    """
    collectives = collectives_for(config, devices, cluster.num_workers)
    key = (cluster, devices, collectives)
    if key not in _made:
        if _made:
            raise ConfigError(
                "An earlier run of this process had other workers, devices or collectives, which "
                "TensorFlow can't change any more; expected the same. Start a new process."
            )
        _made[key] = _make(config, cluster, devices, collectives, complain)
    return _made[key]


def _make(
    config: Config,
    cluster: Cluster,
    devices: Devices,
    collectives: str,
    complain: Callable[[str], None],
) -> tf.distribute.Strategy:
    if cluster.num_workers == 1:
        names = [f"{devices.kind}:{number}" for number in range(devices.count)]
        return tf.distribute.MirroredStrategy(names)
    # Chosen by name, because TensorFlow's "auto" may change the algorithm with the size.
    implementation = tf.distribute.experimental.CommunicationImplementation[collectives.upper()]
    options = tf.distribute.experimental.CommunicationOptions(implementation=implementation)
    with _watch_start(cluster, config.start_timeout, complain), _logical_cpus_allowed(devices):
        return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)


@contextmanager
def _logical_cpus_allowed(devices: Devices) -> Iterator[None]:
    """Lets a worker of several use all its logical CPU devices.

    TensorFlow gives such a worker one CPU device whatever there is, so that two nodes of two
    devices could not be tried without GPUs. tests/cluster has a 2 x 2 run that tells whether
    this is still needed and still works.
    """
    extended = collective_all_reduce_strategy.CollectiveAllReduceExtended
    original = extended._initialize_local_devices
    if devices.kind == "GPU":
        yield
        return

    def every_logical_cpu(
        self: object, cluster_resolver: object, worker_device: str
    ) -> tuple[tuple[str, ...], str]:
        return tuple(f"{worker_device}/device:CPU:{k}" for k in range(devices.count)), "CPU"

    extended._initialize_local_devices = every_logical_cpu
    try:
        yield
    finally:
        extended._initialize_local_devices = original


@contextmanager
def _watch_start(
    cluster: Cluster, timeout_seconds: float, complain: Callable[[str], None]
) -> Iterator[None]:
    """Names the workers that are missing while the body blocks, and ends it at the deadline."""
    stands = threading.Event()
    started = time.monotonic()

    def watch() -> None:
        while not stands.wait(_PROGRESS_SECONDS):
            waited = time.monotonic() - started
            missing = _unreachable(cluster)
            if stands.is_set():
                return
            who = ", ".join(missing) or "all workers answer, but not all have joined yet"
            if waited >= timeout_seconds:
                complain(
                    f"Worker {cluster.index} gave up after {waited:.0f} s of waiting for: {who}. "
                    "Check that each worker runs the same command with its own --index and that "
                    "no firewall is between them; --start_timeout sets the limit."
                )
                os._exit(START_TIMEOUT_CODE)
            complain(f"Worker {cluster.index} has waited {waited:.0f} s for: {who}")

    threading.Thread(target=watch, name="start-watch", daemon=True).start()
    try:
        yield
    finally:
        stands.set()


def _unreachable(cluster: Cluster) -> list[str]:
    """The workers at whose address nobody listens, with the reason."""
    missing = []
    for rank, address in enumerate(cluster.addresses):
        if rank == cluster.index:
            continue
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=1.0).close()
        except OSError as error:
            missing.append(f"worker {rank} at {address} ({error.strerror or error})")
    return missing
