"""A training run from start to end. Read `run` as a table of contents."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from tfscale.checkpoints import export, loading, rescue
from tfscale.checkpoints.export import Saved
from tfscale.checkpoints.rehearsal import Way
from tfscale.checkpoints.rehearsal import rehearse as rehearse_saving
from tfscale.cluster.cluster import Cluster
from tfscale.config import Config
from tfscale.data.bad_data import agreed, explained
from tfscale.data.stage_times import Stages, measured
from tfscale.errors import ConfigError
from tfscale.files.run_directory import RunDirectory
from tfscale.fit.prepared import Prepared, prepare
from tfscale.fit.trainable_set import TrainableSet
from tfscale.model.comparable import callback_facts
from tfscale.model.user_callbacks import own_callbacks, require_settable_rate, write_to_scratch
from tfscale.process.patience import done_within
from tfscale.process.terminal import Terminal
from tfscale.report import tables
from tfscale.report.curve_files import CurveFiles
from tfscale.report.epoch_lines import EpochLines
from tfscale.report.evaluated import EvaluatedWeights, weights_may_change
from tfscale.report.outline import plan_of, settings_of
from tfscale.report.pace import Pace
from tfscale.report.report import Finished, report_of
from tfscale.report.scalars import Scalars
from tfscale.report.whole_scores import WholeScores
from tfscale.startup.agreement import SAME_FILES, require_same
from tfscale.startup.job import Job
from tfscale.structures import Json
from tfscale.user_files import forget_modules

_WAITS = 0.05  # share of the time in which steps wait for input, from which on it is asked why
_WORTH_A_SECOND = 10.0  # of training, so long that finding out hardly shows
_PATIENCE_SECONDS = 5.0  # a user's function may hold up the threads that make batches


@dataclass(frozen=True)
class _Running:
    """What every part of a training works with."""

    job: Job
    prepared: Prepared
    directory: RunDirectory
    scores: WholeScores


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
    job = Job.start(config, cluster, terminal)
    with contextlib.ExitStack() as ending, job.board.share_failures():
        ending.callback(job.end)
        ending.callback(forget_modules)
        prepared = prepare(job, dataset, model)
        ending.callback(done_within, _PATIENCE_SECONDS, prepared.data.end)
        scores = WholeScores(job, prepared)
        callbacks = _callbacks(job, prepared)
        lines = _lines(job)
        way = rehearse_saving(prepared.model)
        own = prepared.distributed.chief.arranged(callbacks)
        plan = (
            plan_of(job, prepared) | prepared.distributed.described(own) | way.rows() | scores.rows
        )
        job.terminal.show(tables.table("tfscale", plan))
        directory = _claim(job, prepared.model)
        settings = settings_of(job, prepared, plan, dataset=dataset, model=model)
        directory.write_settings(settings)
        alone = prepared.distributed.alone_seconds() if config.measure_efficiency else None
        curves = _curves(job, prepared, directory, plan, alone)
        ending.callback(curves.close)
        running = _Running(job, prepared, directory, scores)
        pace, evaluated = _fit(running, [curves, *lines], own, started)
        metrics = _evaluate(running, [pace, *lines], evaluated)
        saved, finished = _finish(running, way, pace, metrics, began, alone)
        report = report_of(job, finished)
        directory.write_report(report)
        problem = export.told(saved, directory, finished.load_command)
        if problem is not None:
            raise problem  # only now: the report is there whatever became of the model
        job.board.leave()
        job.terminal.show(tables.table("done", tables.closing_rows(report, directory.path)))
        job.terminal.show(tables.next_commands(directory.path, finished.load_command))
    return report


def rehearse(
    config: Config, cluster: Cluster, dataset: object, model: object, terminal: Terminal
) -> None:
    """Shows this worker's plan, without waiting for other workers and without a file."""
    job = Job.alone(config, cluster, terminal)
    with contextlib.ExitStack() as ending:
        ending.callback(job.end)
        ending.callback(forget_modules)
        prepared = prepare(job, dataset, model)
        described = prepared.distributed.described(_callbacks(job, prepared))
        way = rehearse_saving(prepared.model)
        scored = WholeScores(job, prepared).rows
        plan = plan_of(job, prepared) | described | way.rows() | scored
        job.terminal.show(tables.table("tfscale", plan))


def _callbacks(job: Job, prepared: Prepared) -> list[keras.callbacks.Callback]:
    """The user's callbacks, the same ones on every worker and none that is bound to fail."""
    file = prepared.model_file
    callbacks = own_callbacks(file)
    require_settable_rate(callbacks, prepared.model, prepared.rate, file.name)
    require_same(job.board, "callbacks of the file", callback_facts(callbacks), SAME_FILES)
    return callbacks


def _claim(job: Job, model: keras.Model) -> RunDirectory:
    """Makes the run directory this run's, or refuses on every worker with the chief's reason."""
    directory = RunDirectory(job.config.run_dir, job.cluster, job.terminal.complain)
    reason = ""
    if job.cluster.is_chief:
        needed = export.model_bytes(model)
        reason = directory.claim(overwrite=job.config.overwrite, needed_bytes=needed)
    reason = job.board.say("claim", reason or "granted")
    if reason != "granted":
        raise ConfigError(reason)
    with contextlib.suppress(OSError):
        directory.make_again()  # of this user alone, also where nodes don't share it
    job.terminal.file_log(directory.log)
    return directory


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


def _after_each_batch(then: Callable[[], None]) -> keras.callbacks.Callback:
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: then())
    callback.every_batch = False
    return callback


def _after_each_epoch(then: Callable[[int], object]) -> keras.callbacks.Callback:
    return keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: then(epoch))


def _lines(job: Job) -> list[keras.callbacks.Callback]:
    """What tells how far the run is, where no bar does."""
    if not job.terminal.wants_lines:
        return []
    return [EpochLines(job.terminal.show, job.config.batch_size)]


def _fit(
    running: _Running,
    watching: list[keras.callbacks.Callback],
    own: list[keras.callbacks.Callback],
    started: Callable[[], None],
) -> tuple[Pace, EvaluatedWeights]:
    """Trains, with Keras's own `fit`; what was trained stays if a callback fails."""
    job, prepared, directory = running.job, running.prepared, running.directory
    pace, data, model = Pace(prepared.distributed), prepared.data, prepared.model
    evaluated = EvaluatedWeights(job.strategy, may_change=weights_may_change(model, own))
    scored = running.scores.of("validation")
    ours = [scored, TrainableSet(), pace, *watching, evaluated, _after_each_batch(started)]
    ours.append(_after_each_epoch(lambda epoch: agreed(job.board, data, f"bad data/{epoch}")))
    with tempfile.TemporaryDirectory(prefix="tfscale-") as scratch:
        write_to_scratch(own, None if directory.is_chief else Path(scratch))
        try:
            model.fit(
                data.training,
                epochs=job.config.epochs,
                validation_data=data.evaluated.get("validation"),
                callbacks=[*ours, *own],
                verbose=job.terminal.verbosity,
            )
        except Exception as error:
            told = explained(error, data, prepared.distributed.step)
            if told is error:
                told = rescue.kept(job, prepared, directory, error)
            # Bad data ends a step in its midst, of which nobody knows what the replicas hold.
            raise told from error
    return pace, evaluated


def _evaluate(
    running: _Running, watching: list[keras.callbacks.Callback], evaluated: EvaluatedWeights
) -> dict[str, Json]:
    """The final metrics: of the last epoch, and of every split that is kept for the end.

    Those of a split are about the weights that are saved. Where these aren't the ones that the
    last epoch was validated with, validation is repeated.
    """
    job, prepared = running.job, running.prepared
    history = prepared.model.history.history
    metrics = {name: values[-1] for name, values in history.items()}
    is_stale = job.board.say("validation", "stale" if evaluated.have_changed else "") == "stale"
    if is_stale:
        job.terminal.show("The weights changed after the last epoch: validation is repeated.")
    for split, inputs in prepared.data.evaluated.items():
        if split != "validation" or is_stale:
            scored = running.scores.of(split)
            try:
                results = prepared.model.evaluate(
                    inputs, verbose=0, return_dict=True, callbacks=[scored, *watching]
                )
            except Exception as error:
                raise explained(error, prepared.data, prepared.distributed.step) from error
            results |= scored.figures
            prefix = "val" if split == "validation" else split
            metrics |= {f"{prefix}_{name}": value for name, value in results.items()}
    return metrics


def _finish(
    running: _Running,
    way: Way,
    pace: Pace,
    metrics: Mapping[str, Json],
    began: float,
    alone_seconds: float | None,
) -> tuple[Saved, Finished]:
    """Saves the model, tries to load it, and gathers what the report tells."""
    job, prepared, directory = running.job, running.prepared, running.directory
    saving = time.perf_counter()
    sha256 = export.weights_sha256(prepared.model)
    saved = export.save(prepared.model, directory, way)
    command = ""
    if saved.path and directory.is_chief:
        command = loading.how_to_load(saved.path, sha256, prepared, job.config).command
    now = time.perf_counter()
    return saved, Finished(
        times=pace.times,
        steps=prepared.distributed.step,
        epochs=len(prepared.model.history.epoch),
        seconds={
            "startup": pace.started - began,
            "to_first_step": pace.started - began + (pace.seconds_to_first_step or 0.0),
            "train": saving - pace.started - pace.evaluate_seconds,
            "boundaries": prepared.distributed.boundary_seconds,
            "evaluate": pace.evaluate_seconds,
            "checkpoint": now - saving,
            "total": now - began,
        },
        metrics={name: _plain(value) for name, value in metrics.items()},
        weights_sha256=sha256,
        model_file=saved.file,
        load_command=job.board.say("loading", command, timeout_seconds=600.0),
        traffic=prepared.distributed.traffic,
        boundary_bytes=prepared.distributed.boundary_bytes,
        bucket_bytes=prepared.buckets.size_bytes,
        alone_seconds=alone_seconds,
        stages=_stages(running, pace),
        bad_examples=agreed(job.board, prepared.data, "bad data"),
    )


def _stages(running: _Running, pace: Pace) -> Stages | None:
    """Why the chief's steps waited for their input, if they did for long."""
    waited, job = pace.times.input_wait_share, running.job
    seconds = pace.times.step_seconds_median * pace.times.num_steps
    if not job.cluster.is_chief or waited < _WAITS or seconds < _WORTH_A_SECOND:
        return None
    step = pace.times.step_seconds_median * (1.0 - min(waited, 0.99))
    running.prepared.data.end()  # nothing else may be read meanwhile
    return measured(
        running.prepared.data.training, running.prepared.data.sharding.worker_batch / step
    )


def _plain(value: Json) -> Json:
    return value.tolist() if isinstance(value, np.ndarray) else value
