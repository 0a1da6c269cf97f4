"""Keras's own `fit`: who is called in it, what it goes on from, and what stays if it fails."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import keras

from tfscale.checkpoints import rescue
from tfscale.checkpoints.keeper import Keeper, after
from tfscale.checkpoints.resume import Earlier
from tfscale.checkpoints.snapshot import Snapshots
from tfscale.data.bad_data import agreed, explained
from tfscale.errors import SharedFailure, at_step
from tfscale.files.run_directory import RunDirectory
from tfscale.fit.on_chief import members_of
from tfscale.fit.prepared import Prepared
from tfscale.fit.trainable_set import TrainableSet
from tfscale.health import injected_faults
from tfscale.health.corruption import Guard
from tfscale.health.non_finite import NonFinite, SkippedSteps
from tfscale.health.stragglers import StragglerLines
from tfscale.model.user_callbacks import append_to_files, write_to_scratch
from tfscale.process.terminal import silence
from tfscale.report.evaluated import EvaluatedWeights, weights_may_change
from tfscale.report.pace import Pace
from tfscale.report.whole_scores import WholeScores
from tfscale.startup.job import Job


class Fitting:
    """One training, on every worker.

    Args:
        job: whose workers train.
        prepared: what trains.
        directory: of the run.
        scores: of whole splits.
        own: the user's callbacks.
        last: sees what they have put into the logs.

    Attributes:
        stragglers: who holds the others up.
        skipped: steps that were taken back.
        evaluated: which weights were evaluated last.
    """

    def __init__(
        self,
        job: Job,
        prepared: Prepared,
        directory: RunDirectory,
        scores: WholeScores,
        own: list[keras.callbacks.Callback],
        last: keras.callbacks.Callback,
    ) -> None:
        """Has trained nothing yet."""
        self._job, self._prepared, self._directory = job, prepared, directory
        self._own, self._last = own, last
        self._history = keras.callbacks.History()
        self._scored = scores.of("validation")
        self._pace, self.skipped = Pace(prepared.distributed), SkippedSteps()
        self._guard = Guard(job, prepared.distributed)
        self.stragglers = StragglerLines(
            prepared.distributed,
            job.cluster.addresses,
            job.terminal.complain if job.cluster.is_chief else silence,
        )
        self.evaluated = EvaluatedWeights(
            job.strategy, may_change=weights_may_change(prepared.model, own)
        )

    def keeper(self, earlier: Earlier) -> Keeper:
        """Takes this training's checkpoints, or goes on from one."""
        job, prepared, own = self._job, self._prepared, members_of(self._own)
        keeping = [self._history, self._scored, self.evaluated, self._pace, self.skipped, *own]
        keeper = Keeper(
            job,
            Snapshots(job, prepared, keeping, self._guard.compare),
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

    def _listen(self, keeper: Keeper, earlier: Earlier) -> None:
        """Tells of every point who wants to know, and where an earlier run has left it."""
        job, distributed = self._job, self._prepared.distributed
        points = distributed.points
        points.listeners.append(self._guard.reached)
        points.listeners.append(lambda point: keeper.reached(point, distributed.step))
        points.listeners += injected_faults.listeners(job, self._prepared, self._directory.path)
        points.every = job.config.checkpoint_every_steps
        if earlier.is_there:
            points.resume = keeper.resume

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
        ours = [
            self._scored,
            TrainableSet(),
            self._pace,
            self.stragglers,
            *watching,
            self.evaluated,
        ]
        ours.append(_after_each_batch(started))
        ours.append(_after_each_epoch(lambda epoch: agreed(job.board, data, distributed.step)))
        self._listen(keeper, earlier)
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
                    callbacks=[*ours, *self._own, self._last, self._history],
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
                raise at_step(told, distributed.step) from error
        return self._pace


def _after_each_batch(then: Callable[[], None]) -> keras.callbacks.Callback:
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: then())
    callback.every_batch = False
    return callback


def _after_each_epoch(then: Callable[[int], object]) -> keras.callbacks.Callback:
    return keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: then(epoch))
