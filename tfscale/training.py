"""A training run from start to end. Read `run` as a table of contents."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import keras

from tfscale.checkpoints import export, rescue, resume
from tfscale.checkpoints.claim import claimed
from tfscale.checkpoints.keeper import Keeper, after
from tfscale.checkpoints.rehearsal import rehearse as rehearse_saving
from tfscale.checkpoints.resume import Earlier
from tfscale.checkpoints.snapshot import Snapshots
from tfscale.cluster.cluster import Cluster
from tfscale.config import Config
from tfscale.data.bad_data import agreed, explained
from tfscale.ending import Running, evaluate, finish
from tfscale.errors import SharedFailure
from tfscale.files.run_directory import RunDirectory
from tfscale.fit.on_chief import members_of
from tfscale.fit.prepared import Prepared, prepare
from tfscale.fit.trainable_set import TrainableSet
from tfscale.health.non_finite import NonFinite, SkippedSteps
from tfscale.health.preemption import Preemption
from tfscale.model.comparable import callback_facts
from tfscale.model.user_callbacks import (
    append_to_files,
    own_callbacks,
    require_settable_rate,
    write_to_scratch,
)
from tfscale.process.patience import done_within
from tfscale.process.terminal import Terminal
from tfscale.report import tables
from tfscale.report.curve_files import CurveFiles
from tfscale.report.epoch_lines import EpochLines
from tfscale.report.evaluated import EvaluatedWeights, weights_may_change
from tfscale.report.outline import plan_of, settings_of
from tfscale.report.pace import Pace
from tfscale.report.report import report_of
from tfscale.report.scalars import Scalars
from tfscale.report.whole_scores import WholeScores
from tfscale.startup.agreement import SAME_FILES, require_same
from tfscale.startup.job import Job
from tfscale.startup.meeting import Meeting
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
        preemption = ending.enter_context(Preemption(job).listening())
        earlier = resume.find(job)
        prepared = prepare(job, dataset, model, bucket_bytes=earlier.bucket_bytes)
        ending.callback(done_within, _PATIENCE_SECONDS, prepared.data.end)
        scores = WholeScores(job, prepared)
        callbacks = _callbacks(job, prepared)
        lines = _lines(job)
        way = rehearse_saving(prepared.model)
        own = prepared.distributed.chief.arranged(callbacks)
        plan = earlier.row(job) | plan_of(job, prepared) | prepared.distributed.described(own)
        plan |= way.rows() | scores.rows
        job.terminal.show(tables.table("tfscale", plan))
        settings = settings_of(job, prepared, plan, dataset=dataset, model=model)
        directory = claimed(job, prepared, earlier, settings)
        directory.write_settings(settings)
        alone = prepared.distributed.alone_seconds() if config.measure_efficiency else None
        curves = _curves(job, prepared, directory, plan, alone)
        ending.callback(curves.close)
        training = _Training(job, prepared, directory, scores, own)
        keeper = training.keeper(earlier)
        running = Running(job, prepared, directory, scores, keeper, began, training.skipped.told)
        preemption.ask = keeper.stop
        pace = training.fit(earlier, [curves, *lines], keeper, started)
        metrics = evaluate(running, [pace, *lines], training.evaluated)
        saved, finished = finish(running, way, pace, metrics, alone)
        report = report_of(job, finished)
        directory.write_report(report)
        problem = export.told(saved, directory, finished.load_command)
        if problem is not None:
            raise problem  # only now: the report is there whatever became of the model
        keeper.end()
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


class _Training:
    """Keras's own `fit`, from the callbacks that it gets to what stays if one of them fails."""

    def __init__(
        self,
        job: Job,
        prepared: Prepared,
        directory: RunDirectory,
        scores: WholeScores,
        own: list[keras.callbacks.Callback],
    ) -> None:
        self._job, self._prepared, self._directory, self._own = job, prepared, directory, own
        self._history = keras.callbacks.History()
        self._scored = scores.of("validation")
        self._pace, self.skipped = Pace(prepared.distributed), SkippedSteps()
        self.evaluated = EvaluatedWeights(
            job.strategy, may_change=weights_may_change(prepared.model, own)
        )

    def keeper(self, earlier: Earlier) -> Keeper:
        """Takes this training's checkpoints, or goes on from one."""
        job, prepared, own = self._job, self._prepared, members_of(self._own)
        keeping = [self._history, self._scored, self.evaluated, self._pace, self.skipped, *own]
        keeper = Keeper(
            job,
            Snapshots(job, prepared, keeping),
            Meeting(job.board),
            self._directory,
            validation_loss=self._validation_loss,
            earlier=earlier.checkpoint,
        )
        self._non_finite = NonFinite(
            job,
            prepared,
            skipped=self.skipped,
            what_stays=lambda: after(keeper.last_saved()),
            way_back=keeper.way_back.to,
            is_left_to_callback=any(isinstance(one, keras.callbacks.TerminateOnNaN) for one in own),
        )
        prepared.distributed.judges.append(self._non_finite.judge)
        return keeper

    def _validation_loss(self) -> float | None:
        losses = self._history.history.get("val_loss")
        return float(losses[-1]) if losses else None

    def fit(
        self,
        earlier: Earlier,
        watching: list[keras.callbacks.Callback],
        keeper: Keeper,
        started: Callable[[], None],
    ) -> Pace:
        """Trains; what was trained stays if a callback fails."""
        job, prepared = self._job, self._prepared
        distributed, data = prepared.distributed, prepared.data
        ours = [self._scored, TrainableSet(), self._pace, *watching, self.evaluated]
        ours.append(_after_each_batch(started))
        ours.append(_after_each_epoch(lambda epoch: agreed(job.board, data, f"bad data/{epoch}")))
        points = distributed.points
        points.listeners.append(lambda point: keeper.reached(point, distributed.step))
        points.every = job.config.checkpoint_every_steps
        if earlier.is_there:
            points.resume = keeper.resume
        with tempfile.TemporaryDirectory(prefix="tfscale-") as scratch:
            write_to_scratch(self._own, None if self._directory.is_chief else Path(scratch))
            if earlier.is_there:
                append_to_files(members_of(self._own), earlier.epoch)
            try:
                prepared.model.fit(
                    data.training,
                    epochs=job.config.epochs,
                    initial_epoch=earlier.epoch,
                    validation_data=data.evaluated.get("validation"),
                    callbacks=[*ours, *self._own, self._history],
                    verbose=job.terminal.verbosity,
                )
                keeper.finish()
                self._non_finite.require_finite_weights()
            except SharedFailure:
                raise
            except Exception as error:
                told = explained(error, data, distributed.step)
                if told is error:
                    told = rescue.kept(job, prepared, self._directory, error)
                # Bad data ends a step in its midst, of which nobody knows what the replicas hold.
                raise told from error
        return self._pace
