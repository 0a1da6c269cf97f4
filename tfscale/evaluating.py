"""A saved model on one split: its figures, and its predictions, each example once."""

import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tfscale.checkpoints.load_script import NAME as LOAD_SCRIPT
from tfscale.cluster.cluster import Cluster
from tfscale.data.bad_data import explain
from tfscale.errors import PREEMPTED_CODE, ConfigError, SharedFailure, one_line
from tfscale.files.run_directory import read_settings
from tfscale.fit.loop.events import Point
from tfscale.fit.prepare_job import prepare_evaluation
from tfscale.health.preemption import Preemption
from tfscale.health.watchdog import Watchdog
from tfscale.listener import Listener, listening
from tfscale.process.terminal import Terminal
from tfscale.report import tables
from tfscale.report.split_metrics import WholeScores
from tfscale.settings import Config
from tfscale.startup.job import Job
from tfscale.structures import Structure
from tfscale.training import guarded

_MODEL = "model.keras"


@dataclass(frozen=True)
class Evaluated:
    """What came of an evaluation, the same on every worker.

    Args:
        metrics: by their names, the loss among them.
        predictions: what the model gives for all examples, in their order: one array (n, ...), or
            a structure of them; None if nobody asked.
    """

    metrics: dict[str, float]
    predictions: Structure = None

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The predictions by name: "predictions", or the path of each output of several."""
        if isinstance(self.predictions, np.ndarray):
            return {"predictions": self.predictions}
        flat = keras.tree.flatten_with_path(self.predictions)
        return {"/".join(map(str, path)): np.asarray(one) for path, one in flat}


@dataclass(frozen=True)
class Wanted:
    """What is evaluated.

    Args:
        model: path of a saved model, or of the folder of a run.
        split: of the dataset file.
        predicts: whether predictions are wanted.
    """

    model: str
    split: str
    predicts: bool


def run(
    config: Config, cluster: Cluster, dataset: object, wanted: Wanted, terminal: Terminal
) -> Evaluated:
    """Does what `tfscale.evaluate` promises."""
    job = Job.start(config, cluster, terminal)
    watchdog, preemption = Watchdog(job), Preemption(job)
    place, split = Path(wanted.model), wanted.split
    with guarded(job, watchdog, preemption) as ending:
        learned = read_settings(place if place.is_dir() else place.parent).get("learned")
        prepared = prepare_evaluation(job, dataset, lambda: _load(place), split, learned)
        ending.callback(prepared.data.end)
        inputs, keras_model = prepared.data.evaluated[split], prepared.model
        scored = WholeScores(job, prepared).of(split)
        with listening([watchdog, preemption, _Stops(preemption)], job, prepared):
            try:
                found = keras_model.evaluate(
                    inputs, verbose=0, return_dict=True, callbacks=[scored]
                )
                predictions = keras_model.predict(inputs, verbose=0) if wanted.predicts else None
            except Exception as error:
                raise explain(error, prepared.data, 0) from error
        preemption.close()
        watchdog.close()
        job.board.leave()
        found |= scored.figures
        metrics = {name: float(value) for name, value in found.items() if np.ndim(value) == 0}
        size = inputs.num_examples
        rows = {
            "model": f"{wanted.model}, {keras_model.count_params():,} parameters",
            "data": f"{prepared.data.file.name}, {split!r}, {size or 'a stream of'} examples",
            "workers": f"{cluster.num_workers}, {prepared.data.sharding.num_replicas} replicas",
            "result": ", ".join(f"{name} {tables.rounded(one)}" for name, one in metrics.items()),
        }
        job.terminal.show(tables.table("evaluated", rows))
    return Evaluated(metrics, predictions)


class _Stops(Listener):
    """Ends an evaluation that somebody stops: there is nothing to save.

    Args:
        preemption: hears of it.
    """

    def __init__(self, preemption: Preemption) -> None:
        self._preemption = preemption

    def at_point(self, point: Point) -> None:
        """Ends it on every worker.

        Raises:
            SharedFailure: it was stopped.
        """
        if who := self._preemption.stopped_by:
            raise SharedFailure(f"{who}; an evaluation has nothing to save.", PREEMPTED_CODE)


def _load(place: Path) -> keras.Model:
    """The model of a file, or of a run: as the run has found that it can be loaded.

    Raises:
        ConfigError: there is none, or it can't be loaded.
    """
    script = place / LOAD_SCRIPT
    file = place / _MODEL if place.is_dir() else place
    try:
        if place.is_dir() and script.is_file():
            return runpy.run_path(str(script))["model"]
        return keras.saving.load_model(file)
    except Exception as error:
        raise ConfigError(
            f"{file} can't be loaded: {one_line(error)}; expected a model that Keras has saved, on "
            "every worker. Check the path; a model with classes of your own is loaded by the "
            f"{LOAD_SCRIPT} of its run: give the run's folder."
        ) from error
