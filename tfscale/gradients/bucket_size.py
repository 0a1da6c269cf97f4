"""How large a bucket should be: from what an all-reduce costs on the links at hand."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tfscale.gradients.link_times import LinkTimes, measure
from tfscale.gradients.wires import AsIs, Wire
from tfscale.startup.job import Job

_SMALLEST = 2**19  # bytes
_SIZES = tuple(2**power for power in (19, 20, 22, 24, 26))
_FLOAT32_BYTES = 4


@dataclass(frozen=True)
class Buckets:
    """The size of the buckets of a run.

    Args:
        size_bytes: of gradients, before a wire dtype makes them smaller; 0 if it isn't known.
        source: "given", "as before", "they all fit", "measured", "remembered", or when it will be
            known.
        conditions: under which it is right.
    """

    size_bytes: int
    source: str
    conditions: Mapping[str, object] = field(default_factory=dict)


def choose(job: Job, wire: Wire, gradient_bytes: int, *, earlier_bytes: int = 0) -> Buckets:
    """What `--bucket_mb` says, else what an earlier run there used, else what measures best.

    Gradients that fit the smallest bucket need neither: they travel in one.

    Sums depend in their last digits on which gradients travel together; so a run that goes on
    where another one stopped takes its buckets.

    Args:
        job: whose links are measured.
        wire: how gradients are sent.
        gradient_bytes: of all gradients together.
        earlier_bytes: of the buckets of the run that this one goes on from; 0 where there is none.
    """
    if job.config.bucket_bytes:
        return Buckets(job.config.bucket_bytes, "given")
    replicas = job.strategy.num_replicas_in_sync
    if replicas == 1:
        return Buckets(0, "measured when the run starts")
    if earlier_bytes:
        return Buckets(earlier_bytes, "as before", _conditions(job))
    if gradient_bytes <= _SMALLEST:
        return Buckets(_SMALLEST, "they all fit")  # whatever the links are: nothing to measure
    conditions = _conditions(job)
    found = int(
        job.board.broadcast("bucket", str(_remembered(Path(job.config.run_dir), conditions)))
    )
    if found:
        return Buckets(found, "remembered", conditions)
    share = wire_share(wire, gradient_bytes, replicas)
    size = best(measure(job.strategy), gradient_bytes, wire_share=share)
    return Buckets(size, "measured", conditions)


def _conditions(job: Job) -> dict[str, object]:
    """What the size depends on."""
    return {
        "workers": job.cluster.num_workers,
        "devices": [job.devices.kind, job.devices.count],
        "collectives": job.collectives,
        "wire_dtype": job.config.wire_dtype,
        "compress": job.config.compress,
    }


def wire_share(wire: Wire, gradient_bytes: int, replicas: int) -> float:
    """What a replica sends on a wire, as a share of what it would send of float32 as it is."""
    elements = max(1, gradient_bytes // _FLOAT32_BYTES)
    as_is = AsIs().bytes_sent(elements, _FLOAT32_BYTES, replicas)
    return wire.bytes_sent(elements, _FLOAT32_BYTES, replicas) / as_is


def _remembered(run_dir: Path, conditions: Mapping[str, object]) -> int:
    """The size in the `config.json` of an earlier run, 0 without one under these conditions."""
    try:
        earlier = json.loads((run_dir / "config.json").read_text())["buckets"]
        is_same = earlier["conditions"] == dict(conditions)
        return max(0, int(earlier["size_bytes"])) if is_same else 0
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return 0
    except (RecursionError, OverflowError):  # no file of ours
        return 0


def best(times: LinkTimes, gradient_bytes: int, *, wire_share: float = 1.0) -> int:
    """The bucket with the least exposed communication.

    What backward can't hide is the last bucket, and every bucket costs a latency: with K buckets
    of S bytes at B bytes a second S/(K B) + K a, which is least at K = sqrt(S / (a B)).

    Args:
        times: of the links.
        gradient_bytes: of all gradients together.
        wire_share: how much of them travels.

    Returns:
        Bytes of gradients, one of `_SIZES`: what is measured differs from run to run, and sums with
        it in their last digits, so that the sizes are few and far apart. A factor of two in either
        direction exposes a quarter more.
    """
    sent = gradient_bytes * wire_share
    count = max(1.0, math.sqrt(sent / (times.latency * times.bytes_per_second)))
    wanted = max(1.0, gradient_bytes / count)
    return min(_SIZES, key=lambda size: abs(math.log(size / wanted)))
