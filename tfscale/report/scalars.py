"""Writes the curves of a run for TensorBoard."""

import math
import time
from typing import Any

import keras

from tfscale.fit.boundary import Boundary
from tfscale.fit.distributed_model import DistributedModel
from tfscale.report.curve_files import CurveFiles
from tfscale.report.pace import block_of


class Scalars(keras.callbacks.Callback):
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

    every_batch = False  # what it writes is of boundaries

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
        """Makes no file yet."""
        super().__init__()
        self._distributed = distributed
        self._files = files
        self._global_batch = global_batch
        self._text = text
        self._alone_seconds = alone_seconds
        self._least_seconds = least_seconds
        self._written = -math.inf
        self._skipped: dict[str, Any] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Writes the configuration."""
        if self._files is not None:
            self._files.text("train", "config", self._text)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes metrics, rates and each worker's figures, unless it has just done so."""
        if self._files is None or self._distributed.boundary is None:
            return
        if time.monotonic() < self._written + self._least_seconds:
            self._skipped = logs or {}
            return
        self._write_boundary(self._files, self._distributed.boundary, logs or {})

    def _write_boundary(self, files: CurveFiles, boundary: Boundary, logs: dict[str, Any]) -> None:
        self._written, self._skipped = time.monotonic(), None
        points = {**_numbers(logs), **_learning_rates(self.model.optimizer)}
        if boundary.is_warm:
            points |= self._rates(boundary)
        files.write("train", points, boundary.step)
        for worker, figures in enumerate(boundary.figures):
            named = dict(zip(self._distributed.figure_names, figures, strict=True))
            files.write(f"workers/worker-{worker}", named, boundary.step)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the epoch's last boundary, and validation under the names that training has."""
        if self._files is None:
            return
        if self._skipped is not None and self._distributed.boundary is not None:
            self._write_boundary(self._files, self._distributed.boundary, self._skipped)
        validation = {
            name.removeprefix("val_"): value
            for name, value in _numbers(logs or {}).items()
            if name.startswith("val_")
        }
        self._files.write("validation", validation, self._distributed.step)
        self._files.flush()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Closes the files."""
        self.close()

    def close(self) -> None:
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
            sent = self._distributed.traffic.sent_bytes * block.steps
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


def _numbers(logs: dict[str, Any]) -> dict[str, float]:
    """The scalar logs; a metric may also give a vector, which has no curve."""
    return {name: float(value) for name, value in logs.items() if isinstance(value, int | float)}
