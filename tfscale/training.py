"""A training run from start to end. Read `run` as a table of contents."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np

from tfscale.checkpoints import export
from tfscale.cluster.cluster import Cluster
from tfscale.config import Config
from tfscale.errors import ConfigError
from tfscale.files.run_directory import RunDirectory
from tfscale.fit.prepared import Prepared, prepare
from tfscale.model.user_callbacks import own_callbacks, write_to_scratch
from tfscale.process.patience import done_within
from tfscale.process.terminal import Terminal
from tfscale.report import tables
from tfscale.report.epoch_lines import EpochLines
from tfscale.report.outline import plan_of, settings_of
from tfscale.report.pace import Pace
from tfscale.report.report import Finished, report_of
from tfscale.report.scalars import Scalars
from tfscale.startup.job import Job
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
    job = Job.start(config, cluster, terminal)
    with contextlib.ExitStack() as ending, job.board.share_failures():
        ending.callback(job.end)
        ending.callback(forget_modules)
        prepared = prepare(job, dataset, model)
        ending.callback(done_within, _PATIENCE_SECONDS, prepared.data.end)
        lines = _lines(job)
        callbacks = [_after_each_batch(started), *own_callbacks(prepared.model_file), *lines]
        plan = plan_of(job, prepared)
        job.terminal.show(tables.table("tfscale", plan))
        directory = _claim(job, prepared.model)
        settings = settings_of(job, prepared, plan, dataset=dataset, model=model)
        directory.write_json("config.json", settings)
        alone = prepared.distributed.alone_seconds() if config.measure_efficiency else None
        curves = _curves(job, prepared, directory, plan, alone)
        ending.callback(curves.close)
        pace = _fit(job, prepared, directory, curves, callbacks)
        metrics = _evaluate(prepared, [pace, *lines])
        finished = _finish(prepared, directory, pace, metrics, began, alone)
        report = report_of(job, finished)
        directory.write_json("report.json", report)
        job.board.leave()
        job.terminal.show(tables.table("done", tables.closing_rows(report, directory.path)))
        job.terminal.show(tables.next_commands(directory.path))
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
        own_callbacks(prepared.model_file)
        job.terminal.show(tables.table("tfscale", plan_of(job, prepared)))


def _claim(job: Job, model: keras.Model) -> RunDirectory:
    """Makes the run directory this run's, or refuses on every worker with the chief's reason."""
    directory = RunDirectory(job.config.run_dir, job.cluster)
    reason = ""
    if job.cluster.is_chief:
        needed = export.model_bytes(model)
        reason = directory.claim(overwrite=job.config.overwrite, needed_bytes=needed)
    reason = job.board.say("claim", reason or "granted")
    if reason != "granted":
        raise ConfigError(reason)
    job.terminal.file_log(directory.log)
    return directory


def _curves(
    job: Job,
    prepared: Prepared,
    directory: RunDirectory,
    plan: Mapping[str, object],
    alone_seconds: float | None,
) -> Scalars:
    return Scalars(
        prepared.distributed,
        directory.path / "tensorboard" if directory.is_chief else None,
        global_batch=job.config.batch_size,
        text=tables.markdown({**plan, **job.config.as_flags()}),
        alone_seconds=alone_seconds,
    )


def _after_each_batch(then: Callable[[], None]) -> keras.callbacks.Callback:
    return keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: then())


def _lines(job: Job) -> list[keras.callbacks.Callback]:
    """What tells how far the run is, where no bar does."""
    if not job.terminal.wants_lines:
        return []
    return [EpochLines(job.terminal.show, job.config.batch_size)]


def _fit(
    job: Job,
    prepared: Prepared,
    directory: RunDirectory,
    curves: Scalars,
    own: list[keras.callbacks.Callback],
) -> Pace:
    """Trains, with Keras's own `fit`."""
    pace = Pace(prepared.distributed)
    data = prepared.data
    with tempfile.TemporaryDirectory(prefix="tfscale-") as scratch:
        write_to_scratch(own, None if directory.is_chief else Path(scratch))
        prepared.model.fit(
            data.training,
            epochs=job.config.epochs,
            validation_data=data.evaluated.get("validation"),
            callbacks=[pace, curves, *own],
            verbose=job.terminal.verbosity,
        )
    return pace


def _evaluate(prepared: Prepared, callbacks: list[keras.callbacks.Callback]) -> dict[str, Json]:
    """The final metrics: of the last epoch, and of every split that is kept for the end."""
    history = prepared.model.history.history
    metrics = {name: values[-1] for name, values in history.items()}
    for split, evaluated in prepared.data.evaluated.items():
        if split != "validation":
            results = prepared.model.evaluate(
                evaluated, verbose=0, return_dict=True, callbacks=callbacks
            )
            metrics |= {f"{split}_{name}": value for name, value in results.items()}
    return metrics


def _finish(
    prepared: Prepared,
    directory: RunDirectory,
    pace: Pace,
    metrics: Mapping[str, Json],
    began: float,
    alone_seconds: float | None,
) -> Finished:
    """Saves the model, and gathers what the report tells."""
    saving = time.perf_counter()
    export.save_model(prepared.model, directory)
    now = time.perf_counter()
    return Finished(
        times=pace.times,
        steps=prepared.distributed.step,
        epochs=len(prepared.model.history.epoch),
        seconds={
            "startup": pace.started - began,
            "to_first_step": pace.started - began + (pace.seconds_to_first_step or 0.0),
            "train": saving - pace.started - pace.evaluate_seconds,
            "evaluate": pace.evaluate_seconds,
            "checkpoint": now - saving,
            "total": now - began,
        },
        metrics={name: _plain(value) for name, value in metrics.items()},
        weights_sha256=export.weights_sha256(prepared.model),
        traffic=prepared.distributed.traffic,
        alone_seconds=alone_seconds,
    )


def _plain(value: Json) -> Json:
    return value.tolist() if isinstance(value, np.ndarray) else value
