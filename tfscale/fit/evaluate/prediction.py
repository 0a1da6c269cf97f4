"""`predict` on all replicas: every row once, in the order in which it was given."""

import keras
import numpy as np
import tensorflow as tf

from tfscale.data.feed import Input
from tfscale.data.user_batches import ENDED
from tfscale.errors import ConfigError
from tfscale.fit.evaluate.gather_rows import of_all_replicas
from tfscale.fit.keras.loops import Call
from tfscale.structures import Foreign, Structure


class Prediction:
    """Runs the model's `predict_step` on each replica's rows, and brings the outputs together.

    Args:
        model: built.
        strategy: of the job.
    """

    def __init__(self, model: keras.Model, strategy: tf.distribute.Strategy) -> None:
        self._model = model
        self._strategy = strategy
        # The sizes of batches are the user's: not one trace for each of them.
        self._together, self._alone = (
            tf.function(step, autograph=False, reduce_retracing=True)
            for step in (self._step_together, self._step_alone)
        )

    def call(self, calls: list[Call]) -> Structure:
        """Predicts the steps of a call; gives the outputs of all replicas, joined.

        Raises:
            StopIteration: there are no more batches.
            ConfigError: an output has other rows than the inputs.
        """
        source = calls[0].input
        outputs: list[Structure] = []
        for _ in range(calls[0].steps):
            element = next(source.iterator)
            if source.steps is None and self._has_ended(element):
                break
            outputs.append(self._rows(source, element))
        if not outputs:
            raise StopIteration
        if len(outputs) == 1:
            return outputs[0]
        return keras.tree.map_structure(_joined, *outputs)

    def _has_ended(self, element: Structure) -> bool:
        index = self._strategy.experimental_local_results(element[0])[0]
        return bool(tf.reduce_any(index == ENDED))

    def _rows(self, source: Input, element: Structure) -> Structure:
        index, outputs = (self._alone if source.is_alone else self._together)(element)
        numbers = index.numpy()
        rows = np.flatnonzero(numbers >= 0)
        if self._strategy.num_replicas_in_sync == 1 and len(rows) == len(numbers):
            return outputs  # whatever shapes they have

        def kept(leaf: Foreign) -> tf.Tensor:
            if leaf.shape.rank == 0 or leaf.shape[0] != len(numbers):
                raise ConfigError(
                    f"predict_step gives an output of shape {leaf.shape} for {len(numbers)} rows; "
                    "expected one row for each row of its inputs, because each replica makes some "
                    "of them. Reshape it, or predict with one replica."
                )
            return leaf if len(rows) == len(numbers) else tf.gather(leaf, rows)

        return keras.tree.map_structure(kept, outputs)

    def _step_together(self, element: Structure) -> tuple[tf.Tensor, Structure]:
        """The rows of all replicas of all workers, on every worker."""

        found: tuple[tf.Tensor, Structure] = of_all_replicas(
            self._strategy, self._predicted, element
        )
        return found

    def _predicted(self, element: Structure) -> Structure:
        index, batch = element
        return index, self._model.predict_step(batch)

    def _step_alone(self, element: Structure) -> tuple[tf.Tensor, Structure]:
        """The rows of this worker's replicas."""

        here = self._strategy.run(self._predicted, args=(element,))
        result: tuple[tf.Tensor, Structure] = keras.tree.map_structure(
            lambda leaf: tf.concat(self._strategy.experimental_local_results(leaf), axis=0), here
        )
        return result


def _joined(*steps: Foreign) -> Foreign:
    """The outputs of several steps, as Keras joins them."""
    return tf.stack(steps) if steps[0].shape.rank == 0 else tf.concat(steps, axis=0)
