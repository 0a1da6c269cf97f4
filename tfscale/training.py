"""A training run from start to end. Read `run` and `_trained` as a table of contents."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import keras

from tfscale.checkpoints import export, resume
from tfscale.checkpoints.claim import claimed
from tfscale.checkpoints.export import Saved
from tfscale.checkpoints.rehearsal import Way, require_savable
from tfscale.checkpoints.rehearsal import rehearse as rehearse_saving
from tfscale.cluster import exposure
from tfscale.cluster.cluster import Cluster
from tfscale.ending import Running, evaluate, finish
from tfscale.errors import ConfigError
from tfscale.files.run_directory import RunDirectory
from tfscale.files.run_lock import RunLock
from tfscale.fit.callback_needs import require_needs, require_places
from tfscale.fit.named_figures import FirstEpoch, figures_of, watched
from tfscale.fit.prepared import Prepared, prepare
from tfscale.fitting import Fitting
from tfscale.health import injected_faults
from tfscale.health.preemption import Preemption
from tfscale.health.watchdog import Watchdog
from tfscale.model.comparable import callback_facts
from tfscale.model.user_callbacks import (
    own_callbacks,
    require_settable_rate,
)
from tfscale.process.exit import done_on_leaving, forks_end_here
from tfscale.process.patience import done_within
from tfscale.process.terminal import Terminal, silence
from tfscale.report import tables
from tfscale.report.curve_files import CurveFiles
from tfscale.report.epoch_lines import EpochLines
from tfscale.report.outline import plan_of, settings_of
from tfscale.report.report import report_of
from tfscale.report.scalars import Scalars
from tfscale.report.whole_scores import WholeScores
from tfscale.settings import Config
from tfscale.startup.agreement import SAME_FILES, require_same
from tfscale.startup.job import Job
from tfscale.startup.rendezvous import refuse
from tfscale.structures import Json
from tfscale.user_files import forget_modules

_PATIENCE_SECONDS = 5.0  # a user's function may hold up the threads that make batches


def run(
    config: Config,
    cluster: Cluster,
    dataset: object,
    model: object,
    terminal: Terminal,
    started: Callable[[], None],
) -> dict[str, Json]:
    """Does what `tfscale.train` promises; calls `started` when the first step has been taken."""
    began = time.perf_counter()
    injected_faults.require_allowed(config)
    with _held(config, cluster, terminal) as lock:
        job = Job.start(config, cluster, terminal)
        lock.ends_by(job.board.end_all)
        return _trained(job, dataset, model, began, started)


@contextlib.contextmanager
def _held(config: Config, cluster: Cluster, terminal: Terminal) -> Iterator[RunLock]:
    """In the body the run directory is this run's alone, or else no worker gets there."""
    lock = RunLock(Path(config.run_dir), terminal.complain)
    with contextlib.ExitStack() as ending:
        if cluster.is_chief:
            if reason := lock.take():
                # The others wait for this worker; they are told on a port that may be open.
                exposure.require_private(cluster, is_public_allowed=config.allow_public_network)
                refuse(cluster, reason)
                raise ConfigError(reason)
            ending.callback(lock.release)
            ending.enter_context(done_on_leaving(lock.release))
        yield lock


def _trained(
    job: Job, dataset: object, model: object, began: float, started: Callable[[], None]
) -> dict[str, Json]:
    config = job.config
    watchdog = Watchdog(job)
    with _ending(job, watchdog) as ending:
        preemption = ending.enter_context(Preemption(job).listening())
        ending.enter_context(watchdog.watching())
        earlier = resume.find(job)
        prepared = prepare(job, dataset, model, bucket_bytes=earlier.bucket_bytes)
        ending.callback(done_within, _PATIENCE_SECONDS, prepared.data.end)
        scores = WholeScores(job, prepared)
        way = rehearse_saving(prepared.model)
        callbacks, figures = _callbacks(job, prepared, scores, way)
        own = prepared.distributed.chief.arranged(callbacks)
        plan = earlier.row(job) | plan_of(job, prepared) | prepared.distributed.described(own)
        plan |= figures.rows | way.rows() | scores.rows
        job.terminal.show(tables.table("tfscale", plan))
        settings = settings_of(job, prepared, plan, dataset=dataset, model=model)
        directory = claimed(job, prepared, earlier, settings)
        watchdog.follow(prepared.distributed, directory.log.parent)
        alone = prepared.distributed.alone_seconds() if config.measure_efficiency else None
        curves = _curves(job, prepared, directory, plan, alone)
        ending.callback(curves.close)
        training = Fitting(job, prepared, directory, scores, own, figures)
        keeper = training.keeper(earlier)
        running = Running(job, prepared, directory, scores, keeper, began, training.skipped.told)
        preemption.ask = keeper.stop
        lines = _lines(job)
        pace = training.fit(earlier, [curves, *lines], keeper, started)
        metrics = evaluate(running, [pace, *lines], training.evaluated)
        saved, finished = finish(running, way, pace, metrics, alone)
        report = report_of(job, finished, training.stragglers.as_json)
        _write(report, directory, saved, finished.load_command)
        keeper.end()
        watchdog.end()
        job.board.leave()
        _show_end(job, report, directory, finished.load_command)
    return report


@contextlib.contextmanager
def _ending(job: Job, watchdog: Watchdog) -> Iterator[contextlib.ExitStack]:
    """What is done when a run ends, whichever way: by its worker, and not by a fork of it."""
    with (
        contextlib.ExitStack() as ending,
        job.board.share_failures(),
        watchdog.explaining(),
        forks_end_here(),
    ):
        ending.callback(job.end)
        ending.callback(forget_modules)
        yield ending


def _write(
    report: Mapping[str, Json], directory: RunDirectory, saved: Saved, load_command: str
) -> None:
    """Writes the report, whatever became of the model; only then says what did."""
    directory.write_report(report)
    problem = export.told(saved, directory, load_command)
    if problem is not None:
        raise problem


def _show_end(
    job: Job, report: Mapping[str, Json], directory: RunDirectory, load_command: str
) -> None:
    job.terminal.show(tables.table("done", tables.closing_rows(report, directory.path)))
    job.terminal.show(tables.next_commands(directory.path, load_command))


def rehearse(
    config: Config, cluster: Cluster, dataset: object, model: object, terminal: Terminal
) -> None:
    """Shows this worker's plan, without waiting for other workers and without a file."""
    injected_faults.require_allowed(config)
    job = Job.alone(config, cluster, terminal)
    with contextlib.ExitStack() as ending, forks_end_here():
        ending.callback(job.end)
        ending.callback(forget_modules)
        prepared = prepare(job, dataset, model)
        way = rehearse_saving(prepared.model)
        scores = WholeScores(job, prepared)
        callbacks, figures = _callbacks(job, prepared, scores, way, is_rehearsal=True)
        described = prepared.distributed.described(callbacks)
        plan = plan_of(job, prepared) | described | figures.rows | way.rows() | scores.rows
        job.terminal.show(tables.table("tfscale", plan))


def _callbacks(
    job: Job, prepared: Prepared, scores: WholeScores, way: Way, *, is_rehearsal: bool = False
) -> tuple[list[keras.callbacks.Callback], FirstEpoch]:
    """The user's callbacks, the same ones on every worker and none that is bound to fail.

    Returns:
        Also what looks for the figures that they name.
    """
    file, model = prepared.model_file, prepared.model
    callbacks = own_callbacks(file)
    require_settable_rate(callbacks, model, prepared.rate, file.name)
    require_same(job.board, "callbacks of the file", callback_facts(callbacks), SAME_FILES)
    require_needs(callbacks, model, file.name)
    require_savable(callbacks, way, file.name)
    is_chief = job.cluster.is_chief
    if is_chief:
        require_places(callbacks, Path(job.config.run_dir), file.name)
    figures = figures_of(prepared, scores.names, has_all_callbacks=is_chief or is_rehearsal)
    found = watched(callbacks, figures, model, file.name)
    return callbacks, FirstEpoch(found, job.terminal.complain if is_chief else silence)


def _curves(
    job: Job,
    prepared: Prepared,
    directory: RunDirectory,
    plan: Mapping[str, object],
    alone_seconds: float | None,
) -> Scalars:
    files = CurveFiles(directory.path / "tensorboard", directory.make_again, job.terminal.complain)
    return Scalars(
        prepared.distributed,
        files if directory.is_chief else None,
        global_batch=job.config.batch_size,
        text=tables.markdown({**plan, **job.config.as_flags()}),
        alone_seconds=alone_seconds,
    )


def _lines(job: Job) -> list[keras.callbacks.Callback]:
    """What tells how far the run is, where no bar does."""
    if not job.terminal.wants_lines:
        return []
    return [EpochLines(job.terminal.show, job.config.batch_size)]
