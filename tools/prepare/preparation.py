"""A split written once as shards, from which any record is reached at once.

A preparation can be killed and started again: finished shards are kept, if they are still what was
written, and the manifest comes last, so that a folder that has one is whole. Whoever starts another
preparation into the same folder is refused.
"""

import itertools
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from tfscale.data.sources.in_memory import unreadable
from tfscale.errors import ConfigError
from tfscale.files import atomic, manifest
from tfscale.files.manifest import Manifest, Shard, sha256_of
from tfscale.process.terminal import silence
from tfscale.structures import Json
from tools.prepare.serialized import serialized, to_json
from tools.prepare.shards import Assignment, Range, part_of, said_of, write_shards
from tools.prepare.split_records import Asked, SplitRecords, open_split

FORMATS = {"tfrecord": "tfrecord", "array_record": "array_record"}  # and the ends of their files
_SAMPLE = 256  # records by which the number of shards is chosen
_PLAN = ".tfscale-plan"


@dataclass(frozen=True)
class Layout:
    """How the records are to be laid out.

    Args:
        format: one of `FORMATS`.
        num_shards: how many files; 0 makes as many as `shard_mb` asks for.
        shard_mb: about how many mebibytes each has.
        processes: that write at the same time.

    Raises:
        ConfigError: a number is out of its range.
    """

    format: str = "tfrecord"
    num_shards: int = 0
    shard_mb: float = 128.0
    processes: int = 1

    def __post_init__(self) -> None:
        """Refuses the first value that can't be meant."""
        if self.format not in FORMATS:
            raise ConfigError(
                f"--format={self.format} is unknown; expected one of {', '.join(FORMATS)}."
            )
        if self.num_shards < 0 or self.processes < 1 or not 0 < self.shard_mb < float("inf"):
            raise ConfigError(
                f"--num_shards={self.num_shards}, --shard_mb={self.shard_mb} and "
                f"--processes={self.processes}; expected shards of 0 or more, and the others above "
                "0. Use for example --shard_mb=128 --processes=4."
            )


def prepare(
    asked: Asked,
    layout: Layout,
    folder: Path,
    tell: Callable[[int, int], None],
    say: Callable[[str], None] = silence,
) -> Manifest:
    """Writes the records of a split, in their order, as shards of one folder.

    Args:
        asked: the split.
        layout: of the shards.
        folder: of this split alone; it is made if it isn't there.
        tell: gets how many records are written, and how many there are, now and then.
        say: gets a line when the file's own `prepare` works, and every ten seconds of waiting.

    Returns:
        What the folder holds. Where all of it was there and is whole, nothing is written.

    Raises:
        ConfigError: the split can't be read, or the folder holds something else.
        OSError: the folder can't be written to.
    """
    split = open_split(asked, say)
    try:
        split = split.counted()
        num_shards = _num_shards(split, layout)
    except ConfigError:
        raise
    except Exception as error:
        raise unreadable(split.name, error) from error
    spec = to_json(split.between(0, 1).element_spec)
    source = _source(asked, layout.format, split.count or 0, num_shards, spec)
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder):
        if _is_finished(folder, source):
            found = manifest.verify(folder, hashes=True)
            tell(split.count or 0, split.count or 0)
            return found
        _claim(folder, source)
        ranges = _ranges(folder, asked.split, layout.format, split.count or 0, num_shards)
        shards = _write_shards(asked, layout, ranges, tell)
        made = Manifest(shards, spec, layout.format, source)
        manifest.write(folder, made)
        _clean(folder, ranges)
        return made


def _num_shards(split: SplitRecords, layout: Layout) -> int:
    """At most one for each record; by size, as the first records have it."""
    count = split.count or 0
    if not count:
        raise ConfigError(f"{split.name} is empty; expected at least one record.")
    wanted = layout.num_shards
    if not wanted:
        sizes = [len(text) for text in serialized(split.between(0, min(_SAMPLE, count)))]
        wanted = math.ceil(sum(sizes) / len(sizes) * count / (layout.shard_mb * 2**20))
    return max(1, min(wanted, count))


def _source(asked: Asked, format_name: str, count: int, num_shards: int, spec: Json) -> Json:
    """What decides the bytes of the shards; it has to be the same when they are continued."""
    return {
        "dataset": Path(asked.dataset).name,
        "dataset_sha256": sha256_of(Path(asked.dataset).expanduser()),
        "dataset_options": sorted(asked.options),
        "data_dir": asked.data_dir,
        "split": asked.split,
        "records": count,
        "shards": num_shards,
        "format": format_name,
        "spec": json.loads(json.dumps(spec)),
    }


def _ranges(folder: Path, split: str, format_name: str, count: int, shards: int) -> list[Range]:
    """Each a contiguous part; no two differ by more than one record."""
    bounds = [count * number // shards for number in range(shards + 1)]
    return [
        Range(folder / f"{split}-{number:05}-of-{shards:05}.{FORMATS[format_name]}", first, last)
        for number, (first, last) in enumerate(itertools.pairwise(bounds))
    ]


def _write_shards(
    asked: Asked, layout: Layout, ranges: list[Range], tell: Callable[[int, int], None]
) -> dict[str, Shard]:
    kept = {each.path: _kept(each) for each in ranges}
    missing = [each for each in ranges if kept[each.path] is None]
    total = ranges[-1].last
    written = total - sum(each.last - each.first for each in missing)

    def tell_more(more: int) -> None:
        nonlocal written
        written += more
        tell(written, total)

    tell_more(0)
    write_shards(Assignment(asked, layout.format, missing), layout.processes, tell_more)
    shards = {each.path.name: kept[each.path] or said_of(each.path) for each in ranges}
    unsaid = [name for name, shard in shards.items() if shard is None]
    if unsaid:
        raise ConfigError(f"{unsaid[0]} isn't there any more after it was written; start again.")
    return {name: shard for name, shard in shards.items() if shard is not None}


def _kept(each: Range) -> Shard | None:
    """What a shard of an earlier try holds, if it is finished and still the same."""
    said = said_of(each.path)
    if said is None or not each.path.is_file() or sha256_of(each.path) != said.sha256:
        return None
    return said


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / ".tfscale-prepare-lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise ConfigError(
            f"{folder} is being prepared by another process; expected one at a time. Wait for it, "
            "or use another --out."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _is_finished(folder: Path, source: Json) -> bool:
    found = manifest.read(folder)
    if found is not None and found.source != source:
        raise _other(folder, found.source, source)
    return found is not None


def _claim(folder: Path, source: Json) -> None:
    """Makes the folder that of this preparation, and removes what a killed one left half done."""
    plan = folder / _PLAN
    if plan.is_file():
        try:
            began = json.loads(plan.read_text(encoding="utf-8"))
        except ValueError:
            began = None
        if began != source:
            raise _other(folder, began, source)
    elif found := sorted(path.name for path in folder.iterdir() if path.name[0] != "."):
        raise ConfigError(
            f"{folder} holds {found[0]} and is no preparation; expected a new folder, or an empty "
            "one. Use another --out."
        )
    for path in folder.glob(f"{atomic.TEMPORARY_PREFIX}*"):
        path.unlink()
    atomic.write_text(plan, json.dumps(source))


def _other(folder: Path, found: Json, source: Json) -> ConfigError:
    was = found if isinstance(found, dict) else {}
    name = next((name for name in source if was.get(name) != source[name]), "source")
    return ConfigError(
        f"{folder} holds another preparation: its {name} is {was.get(name)!r}, and that of this "
        f"one {source.get(name)!r}; expected the same. Use another --out, or remove the folder."
    )


def _clean(folder: Path, ranges: list[Range]) -> None:
    for path in [*(part_of(each.path) for each in ranges), folder / _PLAN]:
        path.unlink(missing_ok=True)
