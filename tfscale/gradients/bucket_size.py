"""How large a bucket should be: from what an all-reduce costs on the links at hand."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import tensorflow as tf

from tfscale.config import Config
from tfscale.gradients.link_times import LinkTimes, measure
from tfscale.startup.board import Board

_SMALLEST, _LARGEST = 2**19, 2**26  # bytes
_STEP = 2**18


@dataclass(frozen=True)
class Buckets:
    """The size of the buckets of a run.

    Args:
        size_bytes: of gradients, before a wire dtype makes them smaller; 0 if it isn't known.
        source: "given", "they all fit", "measured", "remembered", or when it will be known.
        conditions: under which it is right.
    """

    size_bytes: int
    source: str
    conditions: Mapping[str, object] = field(default_factory=dict)


def choose(
    config: Config,
    board: Board,
    strategy: tf.distribute.Strategy,
    *,
    gradient_bytes: int,
    conditions: Mapping[str, object],
) -> Buckets:
    """What `--bucket_mb` says, else what an earlier run there used, else what measures best.

    Gradients that fit the smallest bucket need neither: they travel in one.

    Sums depend in their last digits on which gradients travel together; so a run that goes on
    where another one stopped takes its buckets.

    Args:
        config: `bucket_mb`, `run_dir`.
        board: over which the chief tells what it found.
        strategy: of the job.
        gradient_bytes: of all gradients together.
        conditions: what the size depends on.
    """
    if config.bucket_bytes:
        return Buckets(config.bucket_bytes, "given")
    if strategy.num_replicas_in_sync == 1:
        return Buckets(0, "measured when the run starts")
    if gradient_bytes <= _SMALLEST:
        return Buckets(_SMALLEST, "they all fit")  # whatever the links are: nothing to measure
    found = int(board.say("bucket", str(_remembered(Path(config.run_dir), conditions))))
    if found:
        return Buckets(found, "remembered", conditions)
    share = {"float32": 1.0}.get(config.wire_dtype, 0.5)
    size = best(measure(strategy), gradient_bytes, wire_share=share)
    return Buckets(size, "measured", conditions)


def _remembered(run_dir: Path, conditions: Mapping[str, object]) -> int:
    """The size in the `config.json` of an earlier run, 0 without one under these conditions."""
    try:
        earlier = json.loads((run_dir / "config.json").read_text())["buckets"]
        is_same = earlier["conditions"] == dict(conditions)
        return int(earlier["size_bytes"]) if is_same else 0
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
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
        Bytes of gradients, a multiple of a quarter of a mebibyte from half a mebibyte to 64.
    """
    sent = gradient_bytes * wire_share
    count = max(1.0, math.sqrt(sent / (times.latency * times.bytes_per_second)))
    rounded = _STEP * round(gradient_bytes / count / _STEP)
    return int(min(max(rounded, _SMALLEST), _LARGEST))
