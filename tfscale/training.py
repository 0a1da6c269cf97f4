"""A training run from start to end. Read `run` and `_train` as a table of contents.

`opening` has what comes before the first step, `ending` what comes after the last one.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from tfscale.checkpoints import resume
from tfscale.checkpoints.checkpointer import Keeper
from tfscale.checkpoints.emergency_weights import keep_weights
from tfscale.checkpoints.replay import WayBack
from tfscale.checkpoints.run_directory_hold import hold
from tfscale.checkpoints.snapshot import Snapshots
from tfscale.cluster.cluster import Cluster
from tfscale.data.bad_data import explain
from tfscale.ending import evaluate, finish, show_end
from tfscale.errors import SharedFailure, at_step
from tfscale.fit.loop.events import Boundary
from tfscale.fit.loop.loop_ends import EpochEnds, Resumed
from tfscale.fit.prepare_job import prepare
from tfscale.health.corruption import Guard
from tfscale.health.frozen_weights import FrozenWeights
from tfscale.health.non_finite import NonFinite, SkippedSteps
from tfscale.health.preemption import Preemption
from tfscale.health.records_read import RecordsRead
from tfscale.health.stragglers import StragglerLines
from tfscale.health.watchdog import Watchdog
from tfscale.listener import Listener, listening
from tfscale.model.user_callbacks import append_to_files, write_to_scratch
from tfscale.opening import Run, open_run, plan
from tfscale.process.exit import forks_end_here
from tfscale.process.patience import do_within
from tfscale.process.terminal import Terminal, silence
from tfscale.report import tables
from tfscale.report.curve_files import CurveFiles, cut_back_callbacks
from tfscale.report.epoch_lines import EpochLines
from tfscale.report.evaluated_weights import EvaluatedWeights, weights_may_change
from tfscale.report.run_times import Pace
from tfscale.report.scalars import Scalars
from tfscale.report.split_metrics import SplitScores
from tfscale.settings import Config
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
    users: Sequence[Listener],
) -> dict[str, Json]:
    """Does what `tfscale.train` promises; `users` are the listeners that it was given."""
    pace = Pace()
    with hold(config, cluster, terminal) as lock:
        job = Job.start(config, cluster, terminal)
        lock.ends_by(job.board.end_all)
        return _train(job, dataset, model, pace, users)


def _train(
    job: Job, dataset: object, model: object, pace: Pace, users: Sequence[Listener]
) -> dict[str, Json]:
    watchdog, preemption = Watchdog(job), Preemption(job)
    with guarded(job, watchdog, preemption) as ending:
        earlier = resume.find(job)
        bucket_bytes, learned = earlier.bucket_bytes, earlier.learned
        prepared = prepare(job, dataset, model, bucket_bytes=bucket_bytes, learned=learned)
        ending.callback(do_within, _PATIENCE_SECONDS, prepared.data.end)
        opened = open_run(plan(job, prepared, earlier), earlier, dataset, model)
        watch = _watch(opened, watchdog, preemption, pace, users)
        lines = _lines(job)
        with listening(watch.listeners, job, prepared, watch.resume):
            train(opened, watch, lines)
            metrics = evaluate(opened, lines, watch.evaluated, pace)
            report = finish(opened, pace, metrics, watch.listeners)
            preemption.close()
            watchdog.close()
            job.board.leave()
        show_end(opened, report)
    return report


@contextlib.contextmanager
def guarded(job: Job, watchdog: Watchdog, preemption: Preemption) -> Iterator[contextlib.ExitStack]:
    """Gives what is done when a run ends, whichever way: by its worker, and not by a fork of it."""
    with (
        contextlib.ExitStack() as ending,
        job.board.share_failures(),
        watchdog.explaining(),
        forks_end_here(),
    ):
        ending.callback(job.end)
        ending.callback(forget_modules)
        ending.enter_context(preemption.listening())
        ending.enter_context(watchdog.watching())
        yield ending


@dataclass(frozen=True)
class Watch:
    """Who watches a run.

    Args:
        listeners: all of them, in the order in which they speak.
        keeper: of checkpoints.
        non_finite: looks after losses and weights.
        evaluated: which weights were validated last.
        scored: figures of the whole validation.
        history: Keras's.
        resume: puts the training where an earlier run has left it; None for a new one.
    """

    listeners: Sequence[Listener]
    keeper: Keeper
    non_finite: NonFinite
    evaluated: EvaluatedWeights
    scored: SplitScores
    history: keras.callbacks.History
    resume: Callable[[], Resumed] | None


def _watch(
    run: Run, watchdog: Watchdog, preemption: Preemption, pace: Pace, users: Sequence[Listener]
) -> Watch:
    """The one list of who is told of the end of each loop, and why in this order."""
    job, prepared, callbacks = run.job, run.prepared, run.plan.callbacks
    may_change = weights_may_change(prepared.model, callbacks.arranged)
    evaluated = EvaluatedWeights(prepared.model, job.strategy, may_change=may_change)
    history, scored = keras.callbacks.History(), run.plan.scores.of("validation")
    guard, skipped = Guard(job, prepared.distributed), SkippedSteps()
    # Whoever keeps something; as with callbacks, first those that every worker has.
    curves = _curves(run)
    keeping = [history, scored, evaluated, pace, skipped, curves, *users, *callbacks.members]
    snapshots = Snapshots(job, prepared, keeping, guard.compare)
    earlier, who = run.earlier.checkpoint, lambda: preemption.stopped_by
    keeper = Keeper(job, snapshots, run.directory, stopped_by=who, earlier=earlier)
    non_finite = NonFinite(
        job,
        prepared,
        skipped=skipped,
        what_stays=keeper.writer.what_stays,
        way_back=WayBack(job, snapshots, keeper.writer).to,
        is_left_to_callback=callbacks.end_by_themselves,
    )
    say = job.terminal.complain if job.cluster.is_chief else silence
    listeners: list[Listener] = [
        watchdog,  # what the others do comes after the loop that has ended
        non_finite,  # nobody tells or keeps figures of a run that ends here
        skipped,
        FrozenWeights(),
        pace,
        StragglerLines(job.cluster.addresses, say),
        curves,
        RecordsRead(),
        evaluated,
        guard,  # no checkpoint is taken of copies that differ
        preemption,  # the keeper saves where all workers have agreed to stop
        keeper,
        *users,  # who may rely on what was saved
    ]
    resume = keeper.resume if run.earlier.is_there else None
    return Watch(listeners, keeper, non_finite, evaluated, scored, history, resume)


def _curves(run: Run) -> Scalars:
    job, directory = run.job, run.directory
    files = None
    if directory.is_chief:
        folder = directory.path / "tensorboard"
        files = CurveFiles(folder, directory.make_again, job.terminal.complain)
        if not run.earlier.is_there:
            files.cut_back({})
    return Scalars(
        run.prepared.distributed,
        files,
        global_batch=job.config.batch_size,
        text=tables.markdown({**run.plan.rows, **job.config.as_flags()}),
        alone_seconds=run.alone_seconds,
    )


def _lines(job: Job) -> list[EpochLines]:
    """What tells how far the run is, where no bar does."""
    if not job.terminal.wants_lines:
        return []
    return [EpochLines(job.terminal.show, job.config.batch_size)]


def train(run: Run, watch: Watch, lines: Sequence[EpochLines]) -> None:
    """Keras's own `fit`; what was trained stays if a callback fails."""
    job, prepared, own = run.job, run.prepared, run.plan.callbacks
    distributed, data = prepared.distributed, prepared.data
    ends = EpochEnds(distributed.ends, lambda: distributed.step)
    with tempfile.TemporaryDirectory(prefix="tfscale-") as scratch:
        write_to_scratch(own.arranged, None if run.directory.is_chief else Path(scratch))
        if run.earlier.is_there:
            append_to_files(own.members, run.earlier.epoch)
            cut_back_callbacks(own.members, run.earlier.epoch, run.earlier.step)
        try:
            prepared.model.fit(
                data.training,
                epochs=job.config.epochs,
                initial_epoch=run.earlier.epoch,
                validation_data=data.evaluated.get("validation"),
                # The user's own see what ours have put into the logs, and Keras keeps all of it.
                callbacks=[
                    *(watch.scored, *lines, ends),
                    *(*own.arranged, own.last, watch.history),
                ],
                verbose=job.terminal.verbosity,
            )
            watch.keeper.finish()
            watch.non_finite.require_finite_weights()
        except SharedFailure:
            raise
        except Exception as error:
            told = explain(error, data, distributed.step)
            if told is error:
                told = keep_weights(job, prepared, run.directory, error)
            # Bad data ends a step in its midst, of which nobody knows what the replicas hold.
            raise at_step(told, distributed.step) from error


class FirstStep(Listener):
    """Calls something once, when the first loop is over.

    Args:
        then: what is called.
    """

    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then

    def at_boundary(self, boundary: Boundary) -> None:
        """Calls it; once is enough, and every time is as well."""
        self._then()


def dry_run(
    config: Config, cluster: Cluster, dataset: object, model: object, terminal: Terminal
) -> None:
    """Shows this worker's plan, without waiting for other workers and without a file."""
    job = Job.alone(config, cluster, terminal)
    with contextlib.ExitStack() as ending, forks_end_here():
        ending.callback(job.end)
        ending.callback(forget_modules)
        plan(job, prepare(job, dataset, model), resume.Earlier(), is_rehearsal=True)
