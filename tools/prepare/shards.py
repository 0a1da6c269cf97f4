"""Shards as several processes write them, each its own.

A process reads the records of the shards that it writes, which lie together. Where records have no
index it has to read and pass over those before.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import tensorflow as tf

from tfscale.data.sources.in_memory import unreadable
from tfscale.errors import ConfigError
from tfscale.files import atomic
from tfscale.files.manifest import Shard
from tools.prepare.children import spread
from tools.prepare.serialized import serialized
from tools.prepare.shard_writers import WRITERS
from tools.prepare.split_records import Asked, open_split

_TOLD_EVERY = 1000  # records

Tell = Callable[[int], None]


@dataclass(frozen=True)
class Range:
    """The records of a shard.

    Args:
        path: of its file.
        first: number of the first record.
        last: number of the one after the last.
    """

    path: Path
    first: int
    last: int


@dataclass(frozen=True)
class Assignment:
    """What one process writes.

    Args:
        asked: the split.
        format: one of `WRITERS`.
        ranges: the shards, in the order of their records.
    """

    asked: Asked
    format: str
    ranges: Sequence[Range]


def write_shards(whole: Assignment, processes: int, tell: Tell) -> None:
    """Writes shards, and beside each what it holds (`said_of`).

    Args:
        whole: all of them.
        processes: how many at a time.
        tell: gets how many more records were written, now and then.

    Raises:
        ConfigError: a record failed, or the split gives fewer than it says.
        SharedFailure: a process failed otherwise.
        WorkerError: a process ended without saying why.
    """
    ranges, count = whole.ranges, min(processes, len(whole.ranges))
    bounds = [len(ranges) * number // count for number in range(count + 1)] if count else []
    # Shards that follow each other, so that each process passes over the least.
    shares = [
        Assignment(whole.asked, whole.format, ranges[first:last])
        for first, last in itertools.pairwise(bounds)
    ]
    spread(_write_without_gpus, shares, tell)


def write_share(share: Assignment, tell: Tell) -> None:
    """What one process does: writes its shards one after the other.

    Args:
        share: its own.
        tell: as of `write_shards`.

    Raises:
        ConfigError: a record failed, or the split gives fewer than it says.
    """
    split = open_split(share.asked)
    for run in _runs(share.ranges):
        texts = _read(split.name, serialized(split.between(run[0].first, run[-1].last)))
        for each in run:
            _write_shard(split.name, share.format, each, texts, tell)


def part_of(path: Path) -> Path:
    """Where is written what a finished shard holds, until the manifest says it."""
    return path.with_name(f".{path.name}.part")


def said_of(path: Path) -> Shard | None:
    """What a finished shard holds; None where it isn't finished."""
    with suppress(OSError, ValueError, TypeError):
        return Shard(**json.loads(part_of(path).read_text(encoding="utf-8")))
    return None


def _write_without_gpus(share: Assignment, tell: Tell) -> None:
    tf.config.set_visible_devices([], "GPU")  # whose memory each process would take
    write_share(share, tell)


def _runs(ranges: Sequence[Range]) -> Iterator[list[Range]]:
    """Shards that follow each other without a gap."""
    run: list[Range] = []
    for each in ranges:
        if run and run[-1].last != each.first:
            yield run
            run = []
        run.append(each)
    if run:
        yield run


def _write_shard(
    name: str, format_name: str, each: Range, texts: Iterator[bytes], tell: Tell
) -> None:
    wanted = each.last - each.first
    own = _told(itertools.islice(texts, wanted), tell)
    shard = WRITERS[format_name](each.path, own)
    if shard.records != wanted:
        each.path.unlink()
        raise ConfigError(
            f"{name} ended after {each.first + shard.records:,} records; expected at least "
            f"{each.last:,}, as many as it said or gave before. Check that its source stands still."
        )
    atomic.write_text(part_of(each.path), json.dumps(asdict(shard)))


def _read(name: str, texts: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from texts
    except (ConfigError, OSError, MemoryError):
        raise
    except Exception as error:
        raise unreadable(name, error) from error


def _told(texts: Iterator[bytes], tell: Tell) -> Iterator[bytes]:
    number = 0
    for number, text in enumerate(texts, 1):
        yield text
        if number % _TOLD_EVERY == 0:
            tell(_TOLD_EVERY)
    tell(number % _TOLD_EVERY)
