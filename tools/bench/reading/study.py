"""The benchmark from what is asked to what it leaves. Read `run` as a table of contents."""

import contextlib
import importlib.util
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from tfscale.errors import ConfigError
from tfscale.process.cores import num_cores
from tfscale.supervise.answers import Workers
from tools.bench.blocks import in_turns
from tools.bench.module_commands import module_command, on_own_cores
from tools.bench.reading import files, table
from tools.bench.reading.formats import FORMATS, RESNET_BATCH, RESNET_SECONDS, ReadingTask
from tools.bench.reading.table import Results
from tools.bench.reading.worker import Order

_SECONDS = 300.0  # for any answer
_STEPS = 10  # of the emulated accelerator in a block; its records are read once or less
_SPARE = 1.05  # time that a batch gets where the asked one is too short for this machine
_NUMBERS, _POSITION = 1_000_000, 900_000

# Name for the reader: (module, how many processes share the data set).
SYSTEMS = {
    "tfscale": ("ours", 1),
    "bare tf.data": ("bare", 1),
    "PyTorch DataLoader": ("torch_loader", 1),
    "tfscale, 2 workers": ("ours", 2),
}


@dataclass(frozen=True, kw_only=True)
class ReadingStudy:
    """What to measure.

    Args:
        data_sets: names out of `FORMATS`.
        blocks: measured of each system.
        block_seconds: how long a block lasts at least.
        examples: pictures of each data set.

    Raises:
        ConfigError: there is no such data set.
    """

    data_sets: tuple[str, ...] = tuple(FORMATS)
    blocks: int = 5
    block_seconds: float = 1.0
    examples: int = 2048

    def __post_init__(self) -> None:
        """Refuses what can't be measured before anything is written."""
        unknown = [name for name in self.data_sets if name not in FORMATS]
        if unknown or not self.data_sets:
            raise ConfigError(
                f"--formats={','.join(self.data_sets)} has none or unknown ones; expected some of "
                f"{', '.join(FORMATS)}."
            )
        largest = max(FORMATS[name].batch / FORMATS[name].per_example for name in self.data_sets)
        if self.examples < 2 * largest:
            raise ConfigError(
                f"--examples={self.examples} is less than a batch of two workers; expected at "
                f"least {2 * largest:.0f}."
            )


def run(study: ReadingStudy, folder: Path, say: Callable[[str], None]) -> str:
    """Measures everything and writes the files; gives the table.

    Args:
        study: what to measure.
        folder: where `reading.json` and `reading.md` go, and the data sets.
        say: gets lines of progress.

    Raises:
        WorkerError: a process ended or didn't answer.
        OSError: there is no room for the data sets.
    """
    data = folder / f"data-{study.examples}"
    files.write(data, study.examples, study.data_sets, say)
    results = Results(cores=num_cores(), examples=study.examples)
    with contextlib.ExitStack() as stack:
        names = _installed(say)
        say(f"starting {len(names)} systems")
        systems = {name: stack.enter_context(_started(name, data)) for name in names}
        for name in study.data_sets:
            results.rates[name] = _rates(systems, name, study, say)
            table.write(results, folder)  # a run that is broken off leaves what it had
        if "resnet" in study.data_sets:
            _feed_accelerator(systems, study, results, say)
        results.position_seconds = _first_batch(systems["tfscale"], data, study.blocks, say)
    table.write(results, folder)
    return table.markdown(results)


def _installed(say: Callable[[str], None]) -> list[str]:
    """The systems that can be measured here."""
    if importlib.util.find_spec("torch") is not None:
        return list(SYSTEMS)
    say("PyTorch isn't installed, so it is left out; requirements-bench.txt has it")
    return [name for name, (module, _) in SYSTEMS.items() if module != "torch_loader"]


def _started(name: str, data: Path) -> Workers:
    """The processes of a system; of several, each has its part of the cores."""
    module, count = SYSTEMS[name]
    commands = []
    for index in range(count):
        task = ReadingTask(module, os.fspath(data.absolute()), count, index)
        prefix = on_own_cores(count, index) if count > 1 else []
        command = [*prefix, *module_command("reading.worker", task)]
        commands.append((f"{name}, process {index}", command))
    return Workers(commands)


def _asked(workers: Workers, order: Order) -> list[dict[str, Any]]:
    workers.order(json.dumps(asdict(order)))
    return workers.answers(_SECONDS)


def _rates(
    systems: Mapping[str, Workers], data_set: str, study: ReadingStudy, say: Callable[[str], None]
) -> dict[str, list[dict[str, float]]]:
    """What each system's blocks gave of a data set."""
    for workers in systems.values():
        _asked(workers, Order(data_set, seconds=0.0))  # opens it
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in systems}
    for name in chain.from_iterable(in_turns(study.blocks, list(systems))):
        found = _asked(systems[name], Order(data_set, seconds=study.block_seconds))
        processor = sum(each["processor_seconds"] for each in found) / len(found)
        rate = sum(each["examples_per_second"] for each in found)
        measured[name].append({"examples_per_second": rate, "processor_seconds": processor})
    say(f"{FORMATS[data_set].what}: {study.blocks} blocks of {len(systems)} systems")
    return measured


def _feed_accelerator(
    systems: Mapping[str, Workers],
    study: ReadingStudy,
    results: Results,
    say: Callable[[str], None],
) -> None:
    """The emulated accelerator, whose step is longer where this machine can't read as fast."""
    names = [name for name in systems if SYSTEMS[name][1] == 1]
    rate = table.median_rate(results.rates["resnet"]["tfscale"])
    results.step_seconds = max(RESNET_SECONDS, _SPARE * RESNET_BATCH / rate)
    steps = min(_STEPS, study.examples * FORMATS["resnet"].per_example // RESNET_BATCH)
    for is_cold in (False, True):
        measured: dict[str, list[float]] = {name: [] for name in names}
        for name in chain.from_iterable(in_turns(study.blocks, names)):
            order = Order("resnet", steps=steps, step_seconds=results.step_seconds, is_cold=is_cold)
            measured[name] += [each["utilisation"] for each in _asked(systems[name], order)]
        results.utilisation["disk" if is_cold else "memory of the system"] = measured
    say(f"emulated accelerator: {study.blocks} blocks of {steps} steps of {len(names)} systems")


def _first_batch(
    workers: Workers, data: Path, blocks: int, say: Callable[[str], None]
) -> list[float]:
    """Seconds from the listing of a million records to the first batch of a late position."""
    path = data / files.NUMBERS
    if not path.is_file():
        files.write_numbers(path, _NUMBERS)
    order = Order(files.NUMBERS, position=_POSITION)
    found = [_asked(workers, order)[0]["seconds"] for _ in range(blocks)]
    say(f"position {_POSITION:,} of {_NUMBERS:,}: {blocks} first batches")
    return found
