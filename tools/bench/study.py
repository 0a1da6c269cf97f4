"""A benchmark from what is asked to the files that it leaves. Read `run` as a table of contents."""

import contextlib
import importlib.util
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tfscale.errors import ConfigError
from tfscale.files import atomic
from tools.bench import results
from tools.bench.groups import Cell, Group
from tools.bench.links import ShapedLink, shaped
from tools.bench.results import Row
from tools.bench.sweep import Plan, measure
from tools.bench.task import Task, Variant
from tools.bench.timeline import Moments, Span, chrome_trace, spans_of_step
from tools.profiles.profile import load_profile

# Examples of each one's step.
_COMPUTING = {"tiny-mlp": 32, "small-resnet": 64, "full-resnet": 64}
_ON_GPUS = {"tfscale", "stock", "plain_keras"}


@dataclass(frozen=True, kw_only=True)
class Study:
    """What to measure.

    Args:
        profiles: names or paths; each is measured by itself.
        model: "tiny-mlp", "small-resnet", or the path of a model file; empty with profiles.
        dataset: path of a dataset file, for a model file.
        batch_size: examples of each replica's step, for a model file.
        time_scale: factor on the times of a profile.
        workers: how many processes train together.
        gpus: real GPUs of a single process, in place of `workers`.
        links: megabits a second; 0 is the loopback.
        variants: systems with their options.
        blocks: measured of each system.
        block_seconds: how long a block lasts at least.
        has_timeline: whether one step of each profile is drawn.

    Raises:
        ConfigError: these don't fit together.
    """

    profiles: tuple[str, ...] = ()
    model: str = ""
    dataset: str = ""
    batch_size: int = 32
    time_scale: float = 1.0
    workers: tuple[int, ...] = (1, 2)
    gpus: tuple[int, ...] = ()
    links: tuple[float, ...] = (0.0,)
    variants: tuple[Variant, ...] = ()
    blocks: int = 5
    block_seconds: float = 6.0
    has_timeline: bool = True

    def __post_init__(self) -> None:
        """Refuses what can't be measured before anything is started."""
        if bool(self.profiles) == bool(self.model):
            raise ConfigError(
                "Neither --profile nor --model, or both, say what to train; expected one. Use for "
                "example --profile=resnet-50."
            )
        is_file = bool(self.model) and self.model not in _COMPUTING
        if is_file != bool(self.dataset):
            raise ConfigError(
                f"--model={self.model} and --dataset={self.dataset} don't fit together; expected "
                f"{' or '.join(_COMPUTING)} alone, or a model file with a dataset file."
            )
        if not self.variants:
            raise ConfigError("--systems is empty; expected for example --systems=tfscale,stock.")
        systems = {variant.system for variant in self.variants}
        if (is_file and systems != {"tfscale"}) or (self.gpus and systems - _ON_GPUS):
            able = "tfscale alone" if is_file else ", ".join(sorted(_ON_GPUS))
            raise ConfigError(
                f"--systems={','.join(map(str, self.variants))} can't all train this; {able} can. "
                "Leave the others out."
            )
        if any(self.links) and self.gpus:
            raise ConfigError("--link_mbps shapes links between --workers; leave --gpus out.")
        for path in (self.model, self.dataset) if is_file else ():
            if not Path(path).is_file():
                raise ConfigError(f"{path} is not there; expected the path of a file.")
        for profile in self.profiles:
            load_profile(profile)


def run(study: Study, folder: Path, say: Callable[[str], None]) -> str:
    """Measures everything and writes the files; gives the table.

    Args:
        study: what to measure.
        folder: where `scaling.json`, `scaling.md` and the pictures go.
        say: gets lines of progress.

    Raises:
        WorkerError: a worker ended or didn't answer.
        ConfigError: a link can't be made.
    """
    has_plots = importlib.util.find_spec("matplotlib") is not None  # installed for benchmarks only
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for workload in study.profiles or (study.model,):
        task = Task(
            study.variants[0],
            workload,
            time_scale=study.time_scale if study.profiles else 1.0,
            dataset=study.dataset,
            batch_size=study.batch_size,
        )
        for mbps in study.links:
            rows += _measured(study, task, mbps, say)
            # After each, so that a run that is broken off leaves what it had.
            results.write(rows, folder)
            if has_plots:
                from tools.bench import plots

                plots.draw_scaling(rows, folder / "scaling.png")
        if has_plots and study.has_timeline and study.profiles and not study.gpus:
            _timeline(study, task, folder, say)
    return results.markdown(rows)


def _measured(study: Study, task: Task, mbps: float, say: Callable[[str], None]) -> list[Row]:
    link = f"{mbps:g} Mbit/s" if mbps else "loopback"
    say(f"{task.workload}, {link}: starting {len(study.variants)} systems")
    plan = Plan(task, _cells(study, mbps), study.blocks, study.block_seconds)
    name = task.workload if task.time_scale == 1 else f"{task.workload}, times {task.time_scale:g}"
    return results.rows_of(measure(plan, say), name, _examples(study, task))


def _examples(study: Study, task: Task) -> int:
    if study.profiles:
        return load_profile(task.workload).examples_per_step
    return _COMPUTING.get(task.workload, task.batch_size)


def _cells(study: Study, mbps: float) -> list[Cell]:
    """Every system at every size; on shared cores also the same work uncoupled, to compare with."""
    if study.gpus:
        return [Cell(v, 1, True, 0.0, gpus) for gpus in study.gpus for v in study.variants]
    cells = [Cell(v, n, True, mbps) for n in study.workers for v in study.variants]
    if study.model:
        cells += [Cell(c.variant, c.workers, False, mbps) for c in cells if c.workers > 1]
    return cells


def _timeline(study: Study, task: Task, folder: Path, say: Callable[[str], None]) -> None:
    """Draws one step of the last `tfscale` of the systems, with most workers on the last link."""
    from tools.bench import plots

    ours = [variant for variant in study.variants if variant.system == "tfscale"]
    workers, mbps = max(study.workers), study.links[-1]
    if not ours or workers == 1:
        return
    cell = Cell(ours[-1], workers, True, mbps)
    say(f"{task.workload}: timeline of {cell.variant} with {workers} workers")
    with contextlib.ExitStack() as stack:
        link = stack.enter_context(shaped(workers, mbps)) if mbps else ShapedLink()
        group = stack.enter_context(Group(cell, replace(task, is_timed=True), link))
        group.wait()
        times = group.step_times()
    layers = [layer.name for layer in load_profile(task.workload).layers]
    spans: list[Span] = []
    for worker, own in enumerate(times):
        spans += spans_of_step(worker, layers, Moments(**own))
    name = Path(task.workload).stem
    atomic.write_text(folder / f"timeline-{name}.json", json.dumps(chrome_trace(spans)) + "\n")
    link_text = results.link_name({"link_mbps": mbps})
    title = f"One step of {name}, {cell.variant}, {link_text}"
    plots.draw_timeline(spans, title, folder / f"timeline-{name}.png")


def counts(flag: str, texts: Sequence[str]) -> tuple[int, ...]:
    """The whole numbers of a flag, in order.

    Raises:
        ConfigError: another text, or a number below 1.
    """
    if not all(text.isdecimal() and int(text) for text in texts):
        raise ConfigError(f"--{flag}={','.join(texts)}; expected numbers from 1 like 1,2,4.")
    return tuple(sorted({int(text) for text in texts}))


def rates(flag: str, texts: Sequence[str]) -> tuple[float, ...]:
    """The rates of a flag.

    Raises:
        ConfigError: another text, or a number below 0.
    """
    try:
        values = tuple(float(text) for text in texts)
    except ValueError:
        values = (-1.0,)
    if not values or not all(0 <= value < float("inf") for value in values):
        raise ConfigError(f"--{flag}={','.join(texts)}; expected numbers from 0 like 0,1000.")
    return values
