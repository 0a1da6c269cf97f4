"""A run from its last step to its report: evaluated, saved, and what there is to tell."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import keras
import numpy as np

from tfscale.checkpoints import export, loading
from tfscale.checkpoints.export import Saved
from tfscale.checkpoints.keeper import Keeper
from tfscale.checkpoints.rehearsal import Way
from tfscale.data.bad_data import agreed, explained
from tfscale.data.stage_times import Stages, measured
from tfscale.files.run_directory import RunDirectory
from tfscale.fit.prepared import Prepared
from tfscale.report.evaluated import EvaluatedWeights
from tfscale.report.pace import Pace
from tfscale.report.report import Finished
from tfscale.report.whole_scores import WholeScores
from tfscale.startup.job import Job
from tfscale.structures import Json

_WAITS = 0.05  # share of the time in which steps wait for input, from which on it is asked why
_WORTH_A_SECOND = 10.0  # of training, so long that finding out hardly shows


@dataclass(frozen=True)
class Running:
    """What every part of a training works with.

    Args:
        job: whose workers train.
        prepared: what trains.
        directory: that the run writes to.
        scores: of whole splits.
        keeper: of checkpoints.
        began: `time.perf_counter` at the beginning.
        non_finite_steps: what there is to report of steps that were skipped.
    """

    job: Job
    prepared: Prepared
    directory: RunDirectory
    scores: WholeScores
    keeper: Keeper
    began: float
    non_finite_steps: Callable[[], dict[str, Json]]


def evaluate(
    running: Running,
    watching: Sequence[keras.callbacks.Callback],
    evaluated: EvaluatedWeights,
) -> dict[str, Json]:
    """The final metrics: of the last epoch, and of every split that is kept for the end.

    Those of a split are about the weights that are saved. Where these aren't the ones that the
    last epoch was validated with, validation is repeated.
    """
    job, prepared = running.job, running.prepared
    history = prepared.model.history.history
    metrics = {name: values[-1] for name, values in history.items()}
    is_stale = (
        job.board.broadcast("validation", "stale" if evaluated.have_changed else "") == "stale"
    )
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


def finish(
    running: Running,
    way: Way,
    pace: Pace,
    metrics: Mapping[str, Json],
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
            "startup": pace.started - running.began,
            "to_first_step": pace.started - running.began + (pace.seconds_to_first_step or 0.0),
            "train": saving - pace.started - pace.evaluate_seconds,
            "boundaries": prepared.distributed.boundary_seconds,
            "evaluate": pace.evaluate_seconds,
            "checkpoint": now - saving,
            "total": now - running.began,
        },
        metrics={name: _plain(value) for name, value in metrics.items()},
        weights_sha256=sha256,
        model_file=saved.file,
        load_command=job.board.broadcast("loading", command),
        traffic=prepared.distributed.traffic,
        boundary_bytes=prepared.distributed.boundary_bytes,
        bucket_bytes=prepared.buckets.size_bytes,
        alone_seconds=alone_seconds,
        goodput=pace.times.useful_seconds / max(time.time() - pace.first_start, 1e-9),
        starts=pace.starts,
        checkpoints=asdict(running.keeper.costs),
        stages=_stages(running, pace),
        bad_examples=agreed(job.board, prepared.data, prepared.distributed.step),
        non_finite_steps=running.non_finite_steps(),
    )


def _stages(running: Running, pace: Pace) -> Stages | None:
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
