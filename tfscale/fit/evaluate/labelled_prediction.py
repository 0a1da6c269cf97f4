"""What a model predicts for a whole split, with what is true of it: every example once."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from tfscale.data.feed import Input
from tfscale.errors import ConfigError
from tfscale.fit.evaluate.gather_rows import of_all_replicas
from tfscale.structures import Structure


class UnwantedOutputs(Exception):
    """The model predicts something else than is wanted."""


class LabelledPrediction:
    """Runs the model's `predict_step` on the rows of all replicas, and keeps each row's y.

    Args:
        model: built.
        strategy: of the job.
        is_wanted: says of outputs, tensors with a row for each example of a batch, whether they are
            what is wanted.
    """

    def __init__(
        self,
        model: keras.Model,
        strategy: tf.distribute.Strategy,
        is_wanted: Callable[[Structure], bool],
    ) -> None:
        self._model = model
        self._strategy = strategy
        self._is_wanted = is_wanted
        self._rows = tf.function(self._rows_of_all, autograph=False, reduce_retracing=True)

    def __call__(self, source: Input) -> tuple[Structure, Structure]:
        """Predicts all of a split; every worker calls this and gets the same.

        Args:
            source: of a split that is evaluated.

        Returns:
            Outputs and labels, NumPy arrays with a row for each example, in the order of the split
            where it has one order for all workers.

        Raises:
            UnwantedOutputs: on every worker, before anything is predicted.
            ConfigError: an output has other rows than the inputs.
        """
        numbers: list[np.ndarray] = []
        parts: list[Structure] = []
        source.start()
        try:
            while source.steps is None or len(parts) < source.steps:
                found, rows = self._step(source)
                if not found.size:  # only a stream's end is told by a step that has nothing
                    break
                numbers.append(found)
                parts.append(rows)
        finally:
            if len(parts) != source.steps:
                source.rewind()
        order = np.argsort(np.concatenate(numbers), kind="stable")
        joined: tuple[Structure, Structure] = tf.nest.map_structure(
            lambda *leaves: np.concatenate(leaves)[order], *parts
        )
        return joined

    def _step(self, source: Input) -> tuple[np.ndarray, Structure]:
        """The numbers of the examples of one step, and their rows; none of those that fill up."""
        index, rows = self._rows(next(source.iterator))
        numbers = index.numpy()
        real = np.flatnonzero(numbers >= 0)

        def kept(leaf: tf.Tensor) -> np.ndarray:
            if leaf.shape.rank == 0 or leaf.shape[0] != len(numbers):
                raise ConfigError(
                    f"predict_step gives an output of shape {leaf.shape} for {len(numbers)} "
                    "examples; expected a row for each of them, to be compared with its label. "
                    "Reshape it."
                )
            array: np.ndarray = leaf.numpy()[real]
            return array

        return numbers[real], tf.nest.map_structure(kept, rows)

    def _rows_of_all(self, element: Structure) -> tuple[tf.Tensor, Structure]:
        """The rows of all replicas of all workers, on every worker."""

        def predicted(element: Structure) -> Structure:
            index, batch = element
            _, labels, _ = keras.utils.unpack_x_y_sample_weight(batch)
            outputs = self._model.predict_step(batch)
            if not self._is_wanted(outputs):
                raise UnwantedOutputs
            return index, (outputs, labels)

        found: tuple[tf.Tensor, Structure] = of_all_replicas(self._strategy, predicted, element)
        return found
