"""From the cluster to TensorFlow's strategy: one worker or many, and never a silent wait."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import tensorflow as tf
from tensorflow.python.distribute import collective_all_reduce_strategy
from tensorflow.python.framework import auto_control_deps

from tfscale.cluster.cluster import Cluster
from tfscale.errors import ConfigError
from tfscale.startup.devices import Devices, is_tensorflow_running, take_share
from tfscale.startup.network.constructor_timeout import ended_at
from tfscale.startup.network.rendezvous import meet
from tfscale.structures import Foreign

# A process has one strategy: the collectives of a second one would take the numbers of the first.
_made: dict[tuple[Cluster, Devices, str], tuple[tf.distribute.Strategy, Devices]] = {}


def collectives_for(asked: str, devices: Devices, num_workers: int) -> str:
    """Names how gradients are summed: "nccl", "ring", or "none" for a single replica.

    Args:
        asked: "nccl", "ring", or "auto" for nccl where there are GPUs.
        devices: of each worker.
        num_workers: of the job.

    Raises:
        ConfigError: NCCL was asked for where there is no GPU.
    """
    if num_workers * devices.count == 1:
        return "none"
    if asked == "nccl" and devices.kind != "GPU":
        raise ConfigError(
            "--collectives=nccl needs GPUs and this worker has none; expected auto or ring. "
            "Use --collectives=auto."
        )
    if asked != "auto":
        return asked
    return "nccl" if devices.kind == "GPU" else "ring"


def make_strategy(
    cluster: Cluster,
    devices: Devices,
    collectives: str,
    *,
    timeout_seconds: float,
    complain: Callable[[str], None],
    terminal: int = 2,
) -> tuple[tf.distribute.Strategy, Devices]:
    """Makes the strategy; with several workers it returns when all of them have arrived.

    A missing worker is named every few seconds, and after the timeout this process ends with a code
    that says "try again": TensorFlow's constructor can't be interrupted. A second run in the same
    process gets the strategy of the first.

    Args:
        cluster: who the workers are, as `TF_CONFIG` says it too.
        devices: those that this worker sees.
        collectives: what `collectives_for` gave.
        timeout_seconds: how long to wait for the other workers.
        complain: gets the lines about workers that are waited for.
        terminal: descriptor of where such a line can be written without Python.

    Returns:
        The strategy, and the devices that are this worker's: workers that see the same GPUs share
        them.

    Raises:
        ConfigError: an earlier run of this process had other workers, devices or collectives,
            TensorFlow was used before it could be connected with the other workers', or the GPUs
            of a machine can't be dealt out to its workers.
    """
    key = (cluster, devices, collectives)
    if key not in _made:
        if _made:
            raise ConfigError(
                "An earlier run of this process had other workers, devices or collectives, which "
                "TensorFlow can't change any more; expected the same. Start a new process."
            )
        if cluster.num_workers == 1:
            names = [f"{devices.kind}:{number}" for number in range(devices.count)]
            _made[key] = tf.distribute.MirroredStrategy(names), devices
        else:
            _require_first_use(cluster)
            met = meet(cluster, timeout_seconds, complain, [gpu.uuid for gpu in devices.gpus])
            own = take_share(devices, met.gpus, cluster, may_share=collectives == "ring")
            with ended_at(met.seconds_left, cluster, terminal):
                made = _of_several_workers(own, collectives), own
            _made[key] = _made[cluster, own, collectives] = made  # a second run sees its own only
    return _made[key]


def _require_first_use(cluster: Cluster) -> None:
    """Refuses before the others are waited for what TensorFlow refuses in its own words after."""
    if is_tensorflow_running():
        raise ConfigError(
            f"TensorFlow was used before in this process, worker {cluster.index} of "
            f"{cluster.num_workers}, and can't be connected with the others any more; expected "
            "tfscale.train to be what uses it first. Start a new process (in a notebook: restart "
            "the kernel), and make tensors, data sets and models in load and in build."
        )


def _of_several_workers(devices: Devices, collectives: str) -> tf.distribute.Strategy:
    _let_overlap(collectives)
    # Chosen by name, because TensorFlow's "auto" may change the algorithm with the size.
    implementation = tf.distribute.experimental.CommunicationImplementation[collectives.upper()]
    options = tf.distribute.experimental.CommunicationOptions(implementation=implementation)
    with _logical_cpus_allowed(devices):
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


@dataclass(frozen=True)
class Made:
    """A variable of one device, and the value that it was made with.

    Args:
        variable: TensorFlow's, of one of this worker's devices.
        first_value: which needs no memory of its own as long as the variable has it.
    """

    variable: tf.Variable
    first_value: tf.Tensor


@contextlib.contextmanager
def variables_made_apart(strategy: tf.distribute.Strategy) -> Iterator[list[Made]]:
    """In the body each worker makes its variables alone; gives them in their order.

    TensorFlow's chief sends the first value of each variable to the others as it is made. Workers
    that make other ones wait there for ever, or end with the number of a collective, before
    anything about their models could be compared.

    Args:
        strategy: of the job; nothing is made otherwise where it has one worker.
    """
    made: list[Made] = []
    extended = strategy.extended
    if getattr(extended, "_num_workers", 1) == 1:
        yield made
        return

    def alone(next_creator: Callable[..., tf.Variable], **how: Foreign) -> tf.Variable:
        first_value = how["initial_value"]
        # This is what its function asks whether there is somebody to send to.
        extended._num_workers, workers = 1, extended._num_workers  # noqa: SLF001 - see above
        try:
            value = first_value() if callable(first_value) else first_value
            value = tf.convert_to_tensor(value, how.get("dtype"))
        finally:
            extended._num_workers = workers  # noqa: SLF001 - see above
        variable = next_creator(**(how | {"initial_value": value}))
        made.append(Made(variable, value))
        return variable

    # The strategy's own creator asks this one for the variable of each device.
    with tf.variable_creator_scope(alone):
        yield made


@contextlib.contextmanager
def _logical_cpus_allowed(devices: Devices) -> Iterator[None]:
    """Lets a worker of several use all its logical CPU devices.

    TensorFlow gives such a worker one CPU device whatever there is, so that two nodes of two
    devices could not be tried without GPUs. tests/jobs has a 2 x 2 run that tells whether
    this is still needed and still works.
    """
    extended = collective_all_reduce_strategy.CollectiveAllReduceExtended
    original = extended._initialize_local_devices  # noqa: SLF001 - see above
    if devices.kind == "GPU":
        yield
        return

    def every_logical_cpu(
        self: object, cluster_resolver: object, worker_device: str
    ) -> tuple[tuple[str, ...], str]:
        return tuple(f"{worker_device}/device:CPU:{k}" for k in range(devices.count)), "CPU"

    extended._initialize_local_devices = every_logical_cpu  # noqa: SLF001 - see above
    try:
        yield
    finally:
        extended._initialize_local_devices = original  # noqa: SLF001 - see above
