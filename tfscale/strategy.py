"""From the cluster to TensorFlow's strategy: one worker or many, and never a silent wait."""

import contextlib
import faulthandler
import socket
import time
from collections.abc import Callable, Iterable, Iterator

import tensorflow as tf
from tensorflow.python.distribute import collective_all_reduce_strategy
from tensorflow.python.framework import auto_control_deps

from tfscale.cluster import Cluster
from tfscale.config import Config, ConfigError
from tfscale.devices import Devices
from tfscale.failures import START_TIMEOUT_CODE
from tfscale.leaving import leave

_PROGRESS_SECONDS = 5.0
_POLL_SECONDS = 0.1
_SERVER_POLL_SECONDS = 0.01
_BACKLOG = 1024
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
    _let_overlap(collectives)
    # Chosen by name, because TensorFlow's "auto" may change the algorithm with the size.
    implementation = tf.distribute.experimental.CommunicationImplementation[collectives.upper()]
    options = tf.distribute.experimental.CommunicationOptions(implementation=implementation)
    _meet(cluster, config.start_timeout, complain)
    with _ended_at(config.start_timeout), _logical_cpus_allowed(devices):
        return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)


def _let_overlap(collectives: str) -> None:
    """Lets all-reduces in a ring run side by side.

    NCCL needs them one after the other, in the same order everywhere, and TensorFlow does so with
    the ring too, where nothing needs it: while one bucket waits for an answer the link is idle.
    With float16 on 1 Gbit/s that is 84 % efficiency instead of 95.
    """
    if collectives == "ring":
        # They must still run: a replica that has no use for a sum has its part in it all the same.
        auto_control_deps.MUST_RUN_ORDER_INSENSITIVE_STATEFUL_OPS |= {
            "CollectiveReduceV2",
            "CollectiveGatherV2",
        }


@contextlib.contextmanager
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


def _meet(cluster: Cluster, timeout_seconds: float, complain: Callable[[str], None]) -> None:
    """Returns when every worker has been seen at its address, and says who is waited for.

    TensorFlow's constructor waits for the others in C++ without a limit and holds Python's lock
    meanwhile, so that no thread of this process could name them or give up. Hence this before it:
    until it has seen all others, a worker listens at its own address; after that, TensorFlow does.
    """
    port = cluster.addresses[cluster.index].rpartition(":")[2]
    missing = {rank: "" for rank in range(cluster.num_workers) if rank != cluster.index}
    started = said = time.monotonic()
    try:
        # As TensorFlow's server will: on every interface, for both families where there are both.
        listener = (
            socket.create_server(
                ("", int(port)), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG
            )
            if socket.has_dualstack_ipv6()
            else socket.create_server(("", int(port)), backlog=_BACKLOG)
        )
    except OSError as error:
        raise ConfigError(
            f"Worker {cluster.index} can't listen on port {port} ({error.strerror}); expected a "
            "free port in --hosts. End the process that has it, or use another port."
        ) from error
    with listener:
        while missing := _unreachable(cluster, missing):
            now = time.monotonic()
            who = ", ".join(
                f"worker {rank} at {cluster.addresses[rank]} ({why})"
                for rank, why in missing.items()
            )
            if now - started >= timeout_seconds:
                complain(
                    f"Worker {cluster.index} gave up after {now - started:.0f} s of waiting for: "
                    f"{who}. Check that each worker runs the same command with its own --index and "
                    "that no firewall is between them; --start_timeout sets the limit."
                )
                leave(START_TIMEOUT_CODE)
            if now - said >= _PROGRESS_SECONDS:
                said = now
                complain(f"Worker {cluster.index} has waited {now - started:.0f} s for: {who}")
            time.sleep(_POLL_SECONDS)
        if not cluster.is_chief:
            # Still listening: the chief may not have seen this worker yet.
            _await_server(cluster.addresses[0], started + timeout_seconds)


def _await_server(address: str, deadline: float) -> None:
    """Returns when TensorFlow's server is at the chief's address, or when the time is over.

    Who asks it a moment too early is refused, and asks again only a second later: every second
    start took that second longer. A gRPC server sends its settings to whoever connects, before
    it is asked anything; the socket that listens while the workers meet sends nothing.
    """
    host, _, port = address.rpartition(":")
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            where = (host.strip("[]"), int(port))
            with socket.create_connection(where, timeout=1.0) as connection:
                if connection.recv(1):
                    return
        time.sleep(_SERVER_POLL_SECONDS)


@contextlib.contextmanager
def _ended_at(timeout_seconds: float) -> Iterator[None]:
    """Ends the process if the body takes longer: a worker may have ended since it was seen.

    This timer is a thread of C and needs no Python lock; it can only exit with 1 and a traceback.
    """
    faulthandler.dump_traceback_later(timeout_seconds, exit=True, file=2)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _unreachable(cluster: Cluster, asked: Iterable[int]) -> dict[int, str]:
    """The workers, of those that are asked, at whose address nobody listens, with the reason."""
    missing = {}
    for rank in asked:
        host, _, port = cluster.addresses[rank].rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=1.0).close()
        except OSError as error:
            missing[rank] = error.strerror or str(error)
    return missing
