"""A process with TensorFlow: what it sees, then one measurement. `python -m ...tensorflow_child`.

The first line of its output says what TensorFlow sees; then it waits for an order to sum with
others, which comes once: a process has one strategy.
"""

import os
import re
from collections.abc import Callable
from importlib import metadata

from tfscale.cluster.cluster import Cluster
from tfscale.process.terminal import Terminal
from tfscale.settings import Config
from tfscale.startup.environment import set_environment
from tfscale.startup.gpu_libraries import installed_cudnn
from tfscale.structures import Json
from tfscale.supervise.answers import answering, listening
from tools.doctor.orders import Order

_KIB = 2**10
_SIZES = tuple(_KIB * 4**power for power in range(10))  # bytes, 1 KiB to 256 MiB
_FLOAT32_BYTES = 4
_BLOCKS = 3  # each time is the median of so many, as long as they are cheap
_BLOCK_SECONDS = 0.05
_MOST_REPETITIONS = 20
# What it says of a library that isn't there, where it is asked to say it.
_MISSING_LIBRARY = re.compile(r"Could not load dynamic library '([^']+)'")


def main() -> None:
    """Says what TensorFlow sees, and sums as each order says."""
    answer, orders = answering(), listening()
    set_environment(Cluster())
    answer(**facts())
    for text in orders:
        answer(**measure(Order.from_json(text)))


def facts() -> dict[str, Json]:
    """What TensorFlow sees, and what workers must have the same."""
    import tensorflow as tf

    from tfscale.startup.agreement import surroundings, versions
    from tfscale.startup.gpu_shares import visible_gpus

    gpus = [
        tf.config.experimental.get_device_details(gpu)
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    kinds = sorted({device.device_type for device in tf.config.list_physical_devices()})
    build = tf.sysconfig.get_build_info()
    missing = _MISSING_LIBRARY.findall(_own_words())
    return {
        "gpus": [
            {"name": gpu.get("device_name", "GPU"), "capability": gpu.get("compute_capability")}
            for gpu in gpus
        ],
        "uuids": [gpu.uuid for gpu in visible_gpus()],
        "kinds": kinds,
        "cuda": str(build.get("cuda_version", "")),
        "cudnn": installed_cudnn(),
        "nccl": _version("nvidia-nccl-cu12"),
        "missing_libraries": sorted(set(missing)),
        "compared": {name: str(value) for name, value in {**versions(), **surroundings()}.items()},
    }


def measure(order: Order) -> dict[str, Json]:
    """Joins the others as a run does, and times all-reduces of one size after the other."""
    cluster = Cluster.from_hosts(order.hosts, order.index) if order.hosts else Cluster()
    set_environment(cluster)
    from tfscale.gradients.bucket_size import all_reduce_timer
    from tfscale.gradients.wires import make_wire
    from tfscale.startup.job import Job

    config = Config(
        run_dir="nothing is written",
        collectives=order.collectives,
        wire_dtype=order.wire_dtype,
        devices=order.devices,
        start_timeout=order.start_seconds,
        allow_public_network=True,  # whoever asks for it has been told
    )
    job = Job.start(config, cluster, Terminal())
    replicas = job.strategy.num_replicas_in_sync
    if replicas == 1:
        return {"replicas": 1, "collectives": job.collectives, "points": []}
    wire = make_wire(order.wire_dtype, "none", replicas)
    points = []
    for size, seconds in timed(all_reduce_timer(job.strategy, wire), order):
        sent = wire.bytes_sent(size // _FLOAT32_BYTES, _FLOAT32_BYTES, replicas)
        points.append([size, seconds, sent / seconds])
    return {"replicas": replicas, "collectives": job.collectives, "points": points}


def timed(seconds_of: Callable[[int, int], float], order: Order) -> list[tuple[int, float]]:
    """Sizes in bytes with the median of their seconds, as many as there is time for.

    Every worker has the same times, and so comes to the same end; a clock of its own would not do.

    Args:
        seconds_of: as of `all_reduce_timer`.
        order: how long, and how large.
    """
    found: list[tuple[int, float]] = []
    left, last = order.seconds, 0.0
    for size in _SIZES:
        # Four times as much takes at most four times as long, and goes once before the clock.
        if size > order.most_bytes or 2 * 4 * last > left:
            break
        elements = size // _FLOAT32_BYTES
        first = seconds_of(elements, 1)
        left -= 2 * first
        repetitions = max(1, min(_MOST_REPETITIONS, int(_BLOCK_SECONDS / max(first, 1e-6))))
        times = [] if repetitions > 1 else [first]  # a single one of a short time says little
        while len(times) < _BLOCKS and (not times or (1 + repetitions) * times[-1] < left / 4):
            times.append(seconds_of(elements, repetitions))
            left -= (1 + repetitions) * times[-1]
        last = sorted(times)[len(times) // 2]
        found.append((size, last))
    return found


def _own_words() -> str:
    """What this process has written to its standard error, which is a file."""
    try:
        return os.pread(2, 2**20, 0).decode(errors="replace")
    except OSError:
        return ""


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


if __name__ == "__main__":
    main()
