"""A run from its last step to its report: evaluated, saved, and what there is to tell."""

import json
import time
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from tfscale.checkpoints import export, loading
from tfscale.data.bad_data import explain
from tfscale.data.stage_times import Stages, measure
from tfscale.errors import ConfigError
from tfscale.listener import Listener
from tfscale.opening import Run
from tfscale.report import tables
from tfscale.report.evaluated_weights import EvaluatedWeights
from tfscale.report.report import Finished, report_of
from tfscale.report.run_times import Pace
from tfscale.report.step_times import StepTimes
from tfscale.structures import Json

_WAITS = 0.05  # share of the time in which steps wait for input, from which on it is asked why
_WORTH_A_SECOND = 10.0  # of training, so long that finding out hardly shows


def evaluate(
    run: Run, watching: Sequence[keras.callbacks.Callback], evaluated: EvaluatedWeights, pace: Pace
) -> dict[str, Json]:
    """The final metrics: of the last epoch, and of every split that is kept for the end.

    Those of a split are about the weights that are saved. Where these aren't the ones that the
    last epoch was validated with, validation is repeated.

    Args:
        run: that has trained.
        watching: callbacks that show progress.
        evaluated: which weights were validated last.
        pace: gets the time that it takes.
    """
    job, prepared = run.job, run.prepared
    history = prepared.model.history.history
    metrics = {name: values[-1] for name, values in history.items()}
    is_stale = (
        job.board.broadcast("validation", "stale" if evaluated.have_changed else "") == "stale"
    )
    if is_stale:
        job.terminal.show("The weights changed after the last epoch: validation is repeated.")
    for split, inputs in prepared.data.evaluated.items():
        if split != "validation" or is_stale:
            scored = run.plan.scores.of(split)
            try:
                with pace.evaluating():
                    results = prepared.model.evaluate(
                        inputs, verbose=0, return_dict=True, callbacks=[scored, *watching]
                    )
            except Exception as error:
                raise explain(error, prepared.data, prepared.distributed.step) from error
            results |= scored.figures
            prefix = "val" if split == "validation" else split
            metrics |= {f"{prefix}_{name}": value for name, value in results.items()}
    return metrics


def finish(
    run: Run, pace: Pace, metrics: Mapping[str, Json], listeners: Sequence[Listener]
) -> dict[str, Json]:
    """Saves the model, tries to load it, and writes the report, which it gives.

    Args:
        run: that is over.
        pace: of it.
        metrics: final ones.
        listeners: that have something to report; each is asked on every worker.

    Raises:
        ConfigError: the model couldn't be saved as planned, or a listener reports what is in the
            report already; the report is written all the same.
    """
    job, prepared, directory = run.job, run.prepared, run.directory
    saving = time.perf_counter()
    sha256 = export.weights_sha256(prepared.model)
    saved = export.save(prepared.model, directory, run.plan.way)
    command = ""
    if saved.path and directory.is_chief:
        command = loading.how_to_load(saved.path, sha256, prepared, job.config).command
    command = job.board.broadcast("loading", command)
    seconds = pace.seconds_until(saving)
    seconds["boundaries"] = prepared.distributed.loop.boundary_seconds
    finished = Finished(
        times=pace.times,
        epochs=len(prepared.model.history.epoch),
        seconds=seconds,
        metrics=_as_json(metrics),
        weights_sha256=sha256,
        model_file=saved.file,
        load_command=command,
        alone_seconds=run.alone_seconds,
        stages=_stages(run, pace.times),
    )
    report = report_of(job, prepared, finished)
    wrong = job.board.broadcast("reported", _added(listeners, report))
    directory.write_report(report)
    problem = export.told(saved, directory, command)
    if problem is not None or wrong:
        raise problem or ConfigError(wrong)
    return report


def _added(listeners: Sequence[Listener], report: dict[str, Json]) -> str:
    """Adds what listeners report, numbers of NumPy's as Python's; gives what is wrong with it."""
    wrong = []
    for listener in listeners:
        for name, value in listener.report().items():
            try:
                if name in report:
                    raise ValueError("report.json has that already")
                report[name] = _as_json(value)
            except (TypeError, ValueError) as error:
                wrong.append(f"{name!r} of {type(listener).__name__}.report is left out: {error}.")
    if not wrong:
        return ""
    return " ".join([*wrong, "Expected JSON, under a name of its own. Mend it for the next run."])


def show_end(run: Run, report: Mapping[str, Json]) -> None:
    """Shows what has come of the run, and what to type next."""
    path = run.directory.path
    run.job.terminal.show(tables.table("done", tables.closing_rows(report, path)))
    run.job.terminal.show(tables.next_commands(path, report["model"]["load"]))


def _stages(run: Run, times: StepTimes) -> Stages | None:
    """Why the chief's steps waited for their input, if they did for long."""
    waited, data = times.input_wait_share, run.prepared.data
    seconds = times.step_seconds_median * times.num_steps
    if not run.job.cluster.is_chief or waited < _WAITS or seconds < _WORTH_A_SECOND:
        return None
    step = times.step_seconds_median * (1.0 - min(waited, 0.99))
    data.end()  # nothing else may be read meanwhile
    return measure(data.training, data.sharding.worker_batch / step)


def _as_json(value: object) -> Json:
    return json.loads(json.dumps(value, default=_plain))


def _plain(value: Json) -> Json:
    """A value of NumPy's as Python's own."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON")
