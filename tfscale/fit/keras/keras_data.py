"""What Keras takes as data, for `evaluate` and `predict` on all replicas."""

import contextlib
import zlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfscale.data.batching import as_record
from tfscale.data.feed import Input
from tfscale.data.user_batches import WorkerRows, given_input
from tfscale.errors import ConfigError, one_line
from tfscale.fit.callbacks.chief_callbacks import Chief
from tfscale.fit.keras.seams import data_adapters
from tfscale.startup.agreement import require_same
from tfscale.startup.job import Job
from tfscale.structures import Foreign, Structure

_COMPANY_SECONDS = 120.0  # that workers wait for each other in a callback
_COMPARED_ROWS = 8


class GivenData:
    """Makes an `Input` of arrays, data sets, generators and `PyDataset`s, by Keras's own rules.

    Args:
        job: whose replicas share the rows.
        chief: knows whether a callback of the chief alone asks.
    """

    def __init__(self, job: Job, chief: Chief) -> None:
        self._job = job
        self._chief = chief

    @contextlib.contextmanager
    def __call__(self, method: str, *, steps: int | None, **data: Foreign) -> Iterator[Input]:
        """An input of the data's own batches, in which each row is once.

        Args:
            method: that was called, for messages.
            steps: batches that are asked for; None for all.
            data: x, y, sample_weight and batch_size as Keras has them.

        Raises:
            ConfigError: Keras doesn't take it, there is nothing in it, or it can't be split.
        """
        try:
            adapter = data_adapters.get_data_adapter(**data, steps_per_epoch=steps)
            batches, num_batches = adapter.get_tf_dataset(), adapter.num_batches
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"{method}() doesn't take the given data: {one_line(error)}"
            ) from error
        if num_batches == 0:
            raise ConfigError(f"{method}() got no rows; expected at least one. Check the data.")
        if steps is None and batches.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise ConfigError(
                f"{method}() got data that never end; expected to know how many batches. Add "
                "steps=..., or .take(...)."
            )
        batches = _dense(method, batches)
        if self._chief.is_alone:
            self._chief.evaluated() if method == "evaluate" else None
        else:
            self._meet(method, batches, num_batches, data)
        source = given_input(
            batches if steps is None else batches.take(steps),
            num_batches,
            self._share(),
            self._job.strategy,
            is_alone=self._chief.is_alone,
        )
        adapter.on_epoch_begin()
        try:
            yield source
        finally:
            adapter.on_epoch_end()

    def _share(self) -> WorkerRows:
        local = self._job.devices.count
        if self._chief.is_alone:
            return WorkerRows(local, 0, local)
        cluster = self._job.cluster
        return WorkerRows(cluster.num_workers * local, cluster.index * local, local)

    def _meet(
        self, method: str, batches: tf.data.Dataset, num_batches: int | None, data: dict[str, Any]
    ) -> None:
        """Returns when all workers have called, with the same data as far as it can be told.

        Raises:
            ConfigError: one has other data, or doesn't come.
        """
        facts = {
            "the method": method,
            "the number of batches given to it": num_batches,
            "the batches given to it": str(batches.element_spec),
            "the first rows given to it": _checksum(data),
        }
        try:
            require_same(self._job.board, "given", facts, timeout_seconds=_COMPANY_SECONDS)
        except tf.errors.DeadlineExceededError as error:
            raise ConfigError(
                f"Worker {self._job.cluster.index} has waited {_COMPANY_SECONDS:.0f} s in "
                f"{method}() for a worker that didn't call it; expected all of them in a callback "
                "with everywhere = True. Call it without a condition, or leave everywhere out, "
                "so that the callback runs on the chief alone."
            ) from error


def install_batch_methods(model: keras.Model) -> None:
    """Makes `predict_on_batch` and `test_on_batch` take their one batch as `predict` would.

    Keras hands its step functions the batch itself, which these are not made for.
    """

    def predict_on_batch(x: Structure) -> Foreign:
        return model.predict(x, batch_size=_rows(x), verbose=0)

    def test_on_batch(
        x: Structure,
        y: Structure = None,
        sample_weight: Structure = None,
        return_dict: bool = False,
    ) -> Foreign:
        return model.evaluate(
            x,
            y,
            sample_weight=sample_weight,
            batch_size=_rows(x),
            return_dict=return_dict,
            verbose=0,
        )

    def train_on_batch(*_: Foreign, **__: Foreign) -> None:
        raise ConfigError(
            "train_on_batch() trains on data of its own, which is not distributed; expected the "
            "dataset file's. Give the data to tfscale.train."
        )

    model.predict_on_batch = predict_on_batch
    model.test_on_batch = test_on_batch
    model.train_on_batch = train_on_batch


def _rows(x: Structure) -> int:
    return max(1, len(keras.tree.flatten(x)[0]))


def _dense(method: str, batches: tf.data.Dataset) -> tf.data.Dataset:
    """The batches without parts that are None, which Keras writes for labels or weights.

    Raises:
        ConfigError: a part is sparse, ragged, or None among others that aren't.
    """
    spec = batches.element_spec
    parts = len(spec) if isinstance(spec, tuple) else 0
    while parts > 1 and not any(_is_tensor(leaf) for leaf in tf.nest.flatten(spec[parts - 1])):
        parts -= 1
    kept = spec[:parts] if parts else spec
    if not all(_is_tensor(leaf) for leaf in tf.nest.flatten(kept)):
        raise ConfigError(
            f"{method}() got {kept}, which is not dense; expected dense tensors that can be split "
            "between replicas. Use tf.sparse.to_dense or .to_tensor(), and no None among inputs."
        )
    if kept == spec:
        return batches
    return batches.map(lambda *given: as_record(batches, given)[:parts])


def _is_tensor(spec: Foreign) -> bool:
    return isinstance(spec, tf.TensorSpec)


def _checksum(data: dict[str, Structure]) -> int:
    """Of the first rows of arrays; of nothing else, since reading may use it up."""
    total = 0
    for part in ("x", "y", "sample_weight"):
        for leaf in keras.tree.flatten(data.get(part)):
            if isinstance(leaf, np.ndarray | tf.Tensor):
                rows = np.asarray(leaf[:_COMPARED_ROWS])
                raw = str(rows.tolist()) if rows.dtype == object else rows.tobytes()
                total = zlib.crc32(raw.encode() if isinstance(raw, str) else raw, total)
    return total
