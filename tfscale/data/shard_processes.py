"""Processes that write shards side by side, each its own, and end with the one that started them.

They are started anew and not forked: TensorFlow's threads don't come along with a fork. A process
reads the records of the shards that it writes, which lie together, and passes over those before.
"""

import itertools
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import tensorflow as tf

from tfscale.data.formats.serialized import serialized
from tfscale.data.formats.shard_writers import WRITERS
from tfscale.data.split_records import Asked, failure, open_split
from tfscale.errors import CONFIG_CODE, ConfigError, SharedFailure, WorkerError, describe_failure
from tfscale.files import atomic
from tfscale.files.manifest import Shard

_TOLD_EVERY = 1000  # records


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


def write_shards(
    asked: Asked,
    format_name: str,
    ranges: Sequence[Range],
    processes: int,
    tell: Callable[[int], None],
) -> None:
    """Writes shards, and beside each what it holds (`said_of`).

    Args:
        asked: the split.
        format_name: one of `WRITERS`.
        ranges: the shards.
        processes: how many at a time.
        tell: gets how many more records were written, now and then.

    Raises:
        ConfigError: a record failed, or the split gives fewer than it says.
        WorkerError: a process ended without saying why.
    """
    context = multiprocessing.get_context("spawn")
    started: list[tuple[BaseProcess, Connection]] = []
    try:
        for number in range(min(processes, len(ranges))):
            own = _share(ranges, number, min(processes, len(ranges)))
            here, there = context.Pipe(duplex=False)
            process: BaseProcess = context.Process(
                target=_write, args=(asked, format_name, own, there), daemon=True
            )
            process.start()
            there.close()
            started.append((process, here))
        _wait(started, tell)
    finally:
        for process, here in started:
            process.kill()
            process.join()
            process.close()
            here.close()


def part_of(path: Path) -> Path:
    """Where is written what a finished shard holds, until the manifest says it."""
    return path.with_name(f".{path.name}.part")


def said_of(path: Path) -> Shard | None:
    """What a finished shard holds; None where it isn't finished."""
    with suppress(OSError, ValueError, TypeError):
        return Shard(**json.loads(part_of(path).read_text(encoding="utf-8")))
    return None


def _share(ranges: Sequence[Range], number: int, processes: int) -> list[Range]:
    """Shards that follow each other, so that each process passes over the least."""
    bounds = [len(ranges) * each // processes for each in (number, number + 1)]
    return list(ranges[bounds[0] : bounds[1]])


def _wait(started: Sequence[tuple[BaseProcess, Connection]], tell: Callable[[int], None]) -> None:
    """Until all have said that they are done; the first that fails, fails all."""
    working = list(started)
    while working:
        ready = connection.wait([here for _, here in working])
        for process, here in [each for each in working if each[1] in ready]:
            try:
                what, value = here.recv()
            except EOFError:
                process.join()
                raise WorkerError(
                    f"a process that wrote shards ended with code {process.exitcode}"
                ) from None
            if what == "wrote":
                tell(value)
            elif what == "failed":
                reason, code = value
                error = ConfigError(reason) if code == CONFIG_CODE else SharedFailure(reason, code)
                raise error
            else:
                working.remove((process, here))


def _write(asked: Asked, format_name: str, ranges: Sequence[Range], there: Connection) -> None:
    """What a process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that started it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        tf.config.set_visible_devices([], "GPU")
        split = open_split(asked)
        for together in _runs(ranges):
            records = split.between(together[0].first, together[-1].last)
            texts = _told(_read(split.name, serialized(records)), there)
            for each in together:
                _write_shard(split.name, format_name, each, texts)
        there.send(("done", None))
    except BaseException as error:
        there.send(("failed", describe_failure(error)))
    finally:
        os._exit(0)  # TensorFlow's threads have nothing left to do, and may take their time


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
    os._exit(1)


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


def _write_shard(name: str, format_name: str, each: Range, texts: Iterator[bytes]) -> None:
    wanted = each.last - each.first
    shard = WRITERS[format_name](each.path, itertools.islice(texts, wanted))
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
        raise failure(name, error) from error


def _told(texts: Iterator[bytes], there: Connection) -> Iterator[bytes]:
    number = 0
    for number, text in enumerate(texts, 1):
        yield text
        if number % _TOLD_EVERY == 0:
            there.send(("wrote", _TOLD_EVERY))
    there.send(("wrote", number % _TOLD_EVERY))
