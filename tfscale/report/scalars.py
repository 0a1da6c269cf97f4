"""Writes the curves of a run for TensorBoard."""

import math
import time
from collections.abc import Mapping

import keras

from tfscale.fit.distributed_model import DistributedModel
from tfscale.fit.loop.events import Boundary, EpochEnd
from tfscale.fit.prepare_job import Prepared
from tfscale.listener import Listener
from tfscale.report.curve_files import CurveFiles
from tfscale.report.run_times import block_of
from tfscale.startup.job import Job
from tfscale.structures import Json


class Scalars(Listener):
    """Writes a point of every curve at every boundary, and of validation at every epoch's end.

    Without files it does nothing, which is what it does on every worker but the chief: the
    boundary has brought every worker's figures there.

    Args:
        distributed: whose boundaries are written.
        files: TensorBoard's, or None.
        global_batch: examples per step.
        alone_seconds: of a step of one replica alone, None if that isn't known.
        text: of the run's configuration, in Markdown.
        least_seconds: between two points of training, but for the last one of an epoch: a callback
            may make every step a boundary, and all curves together take longer to write than a
            short step.
    """

    def __init__(
        self,
        distributed: DistributedModel,
        files: CurveFiles | None,
        *,
        global_batch: int,
        text: str,
        alone_seconds: float | None = None,
        least_seconds: float = 0.5,
    ) -> None:
        self._distributed = distributed
        self._files = files
        self._global_batch = global_batch
        self._text = text
        self._alone_seconds = alone_seconds
        self._least_seconds = least_seconds
        self._written = -math.inf
        self._skipped: Boundary | None = None

    def begin(self, job: Job, prepared: Prepared) -> None:
        """Writes the configuration."""
        if self._files is not None:
            self._files.text("train", "config", self._text)

    def at_boundary(self, boundary: Boundary) -> None:
        """Writes metrics, rates and each worker's figures, unless it has just done so."""
        if self._files is None:
            return
        if time.monotonic() < self._written + self._least_seconds:
            self._skipped = boundary
            return
        self._write(self._files, boundary)

    def _write(self, files: CurveFiles, boundary: Boundary) -> None:
        self._written, self._skipped = time.monotonic(), None
        points = _numbers(boundary.logs) | _learning_rates(self._distributed.model.optimizer)
        if boundary.is_warm:
            points |= self._rates(boundary)
        files.write("train", points, boundary.step)
        for worker, figures in enumerate(boundary.figures):
            named = dict(zip(self._distributed.loop.figures.names, figures, strict=True))
            files.write(f"workers/worker-{worker}", named, boundary.step)

    def at_epoch_end(self, end: EpochEnd) -> None:
        """Writes the epoch's last boundary, and validation under the names that training has."""
        if self._files is None:
            return
        if self._skipped is not None:
            self._write(self._files, self._skipped)
        validation = {
            name.removeprefix("val_"): value
            for name, value in _numbers(end.logs).items()
            if name.startswith("val_")
        }
        self._files.write("validation", validation, end.step)
        self._files.flush()

    def get_state(self) -> dict[str, Json]:
        """How far each curve is; all of it is on disk when a checkpoint has this."""
        return {} if self._files is None else {"last_steps": self._files.last_steps}

    def set_state(self, state: Mapping[str, Json]) -> None:
        """Cuts the curves back to where the checkpoint was: what comes behind it comes again."""
        self._skipped = None
        if self._files is not None and "last_steps" in state:
            self._files.cut_back(state["last_steps"])

    def end(self) -> None:
        """Closes the files, also those of a run that has failed."""
        if self._files is not None:
            self._files.close()

    def _rates(self, boundary: Boundary) -> dict[str, float]:
        block = block_of(boundary)
        rates = {
            "examples_per_second": self._global_batch / block.step_seconds,
            "step_seconds": block.step_seconds,
            "input_wait_share": block.input_wait_share,
        }
        if block.travel_seconds > 0:
            rates["exposed_communication_share"] = block.exposed_share
            sent = self._distributed.parts.traffic.sent_bytes * block.steps
            rates["bus_bandwidth_gb_per_second"] = sent / block.travel_seconds / 1e9
        if self._alone_seconds:
            rates["scaling_efficiency"] = self._alone_seconds / block.step_seconds
        return rates


def _learning_rates(optimizer: keras.optimizers.Optimizer | None) -> dict[str, float]:
    """The curve of the learning rate, or one for each optimizer that another hands on to."""
    inner = getattr(optimizer, "optimizers", None)
    if inner is None:
        optimizers = {"learning_rate": optimizer} if optimizer is not None else {}
    else:
        optimizers = {f"learning_rate_{one.name}": one for one in inner}
    rates = {name: one.learning_rate for name, one in optimizers.items()}
    return {name: float(keras.ops.convert_to_numpy(rate)) for name, rate in rates.items()}


def _numbers(logs: Mapping[str, Json]) -> dict[str, float]:
    """The scalar logs; a metric may also give a vector, which has no curve."""
    return {name: float(value) for name, value in logs.items() if isinstance(value, int | float)}
