"""A saved model on one split: its figures, and its predictions, each example once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tfscale.checkpoints.loading import load_saved
from tfscale.data.bad_data import explain
from tfscale.errors import ConfigError
from tfscale.files import atomic
from tfscale.files.run_directory import read_settings
from tfscale.fit.prepare_job import prepare_evaluation
from tfscale.health.preemption import Preemption, StopsAtOnce
from tfscale.health.watchdog import Watchdog
from tfscale.listener import listening
from tfscale.report import tables
from tfscale.report.split_metrics import WholeScores
from tfscale.startup.job import Job
from tfscale.structures import Structure
from tfscale.training import guarded


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
        predictions: path of the NPZ file that gets them; "" where nobody wants them written.
        predicts: whether they are wanted all the same.
    """

    model: str
    split: str
    predictions: str = ""
    predicts: bool = False

    def require_place(self) -> None:
        """Refuses a file that can't be written, before anything is read.

        Raises:
            ConfigError: it has another ending, or its folder isn't there.
        """
        path = Path(self.predictions)
        if self.predictions and (path.suffix != ".npz" or not path.parent.is_dir()):
            raise ConfigError(
                f"--predictions={path} can't be written; expected a file named .npz in a folder "
                "that is there. Use for example --predictions=test.npz"
            )


def run(start: Callable[[], Job], dataset: object, wanted: Wanted) -> Evaluated:
    """Does what `tfscale.evaluate` promises; `start` returns when all workers have met."""
    wanted.require_place()
    job = start()
    cluster, terminal = job.cluster, job.terminal
    watchdog, preemption = Watchdog(job), Preemption(job)
    place, split = Path(wanted.model), wanted.split
    predicts = wanted.predicts or bool(wanted.predictions)
    with guarded(job, watchdog, preemption) as ending:
        learned = read_settings(place if place.is_dir() else place.parent).get("learned")
        prepared = prepare_evaluation(job, dataset, lambda: load_saved(place), split, learned)
        ending.callback(prepared.data.end)
        inputs, keras_model = prepared.data.evaluated[split], prepared.model
        scored = WholeScores(job, prepared).of(split)
        with listening([watchdog, preemption, StopsAtOnce(preemption)], job, prepared):
            try:
                found = keras_model.evaluate(
                    inputs, verbose=0, return_dict=True, callbacks=[scored]
                )
                predictions = keras_model.predict(inputs, verbose=0) if predicts else None
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
    evaluated = Evaluated(metrics, predictions)
    if wanted.predictions and cluster.is_chief:
        _write(evaluated.arrays, Path(wanted.predictions))
        terminal.show(f"predictions: {wanted.predictions}, with {', '.join(evaluated.arrays)}")
    return evaluated


def _write(arrays: Mapping[str, npt.NDArray[Any]], path: Path) -> None:
    with atomic.replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # none is called like an argument
