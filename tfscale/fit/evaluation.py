"""`evaluate` and `predict` on all replicas: every example once, whatever the number divides by."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfscale.data.feed import next_of
from tfscale.fit.keras.loops import Call
from tfscale.fit.keras.losses import output_losses_weighted
from tfscale.fit.metric_totals import MetricTotals
from tfscale.fit.replica_state import gathered
from tfscale.gradients.all_reduce import sum_over_replicas
from tfscale.structures import Foreign, Structure

STEPS_PER_CALL = 64  # of an evaluation


class Evaluation:
    """Runs the model's `test_step` and `predict_step` on the rows that aren't padding.

    Args:
        model: compiled and built.
        strategy: of the job.
        totals: the model's metric variables.
        num_workers: of the job.
    """

    def __init__(
        self,
        model: keras.Model,
        strategy: tf.distribute.Strategy,
        totals: MetricTotals,
        num_workers: int,
    ) -> None:
        """Traces nothing yet."""
        self._model = model
        self._strategy = strategy
        self._totals = totals
        self._num_workers = num_workers
        self._test_loop = tf.function(self._test_steps, autograph=False)
        self._predict_step = tf.function(self._predict_one_step, autograph=False)

    def test_call(self, call: Call) -> dict[str, Any]:
        """Evaluates the steps of a call; gives the logs of all replicas so far.

        Raises:
            StopIteration: a stream has ended on every worker.
        """
        packed, seen = self._test_loop(call.input.iterator, tf.constant(call.steps))
        if call.input.steps is None and seen.numpy() == 0:
            raise StopIteration
        return self._totals.results(self._totals.packing.unpack(packed))

    def _test_steps(self, iterator: Foreign, steps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Evaluates `steps` steps; gives packed metric totals and the examples of all replicas."""

        def body(number: tf.Tensor, seen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            counts = self._strategy.run(self._replica_test_step, args=(next_of(iterator),))
            local = tf.add_n(list(self._strategy.experimental_local_results(counts)))
            return number + 1, seen + tf.cast(local, tf.float64)

        _, seen = tf.while_loop(
            lambda number, _: number < steps,
            body,
            (tf.constant(0), tf.zeros([], tf.float64)),
            parallel_iterations=1,
        )

        def on_replica() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            local_replicas = context.num_replicas_in_sync // self._num_workers
            packed = tf.concat(
                [self._totals.packing.pack(self._totals.local()), [seen / local_replicas]], axis=0
            )
            if context.num_replicas_in_sync == 1:
                return packed
            return sum_over_replicas(packed)

        summed = self._strategy.experimental_local_results(self._strategy.run(on_replica))[0]
        return summed[:-1], summed[-1]

    def _replica_test_step(self, element: Structure) -> tf.Tensor:
        """Evaluates the rows of a replica batch that aren't padding; gives their number."""
        index, batch = element
        count = tf.reduce_sum(tf.cast(index >= 0, tf.int32))

        def evaluated() -> tf.Tensor:
            with output_losses_weighted(self._model, count):
                self._model.test_step(tf.nest.map_structure(lambda leaf: leaf[:count], batch))
            return tf.constant(0)

        # A replica without a row must not run at all: the mean of nothing is not a number.
        tf.cond(count > 0, evaluated, lambda: tf.constant(0))
        return count

    def predict_call(self, calls: list[Call]) -> Structure:
        """Predicts one step; gives the outputs of all replicas in the order of the examples."""
        index, outputs = self._predict_step(calls[0].input.iterator)
        rows = np.flatnonzero(index.numpy() >= 0)
        return keras.tree.map_structure(lambda leaf: tf.gather(leaf, rows), outputs)

    def _predict_one_step(self, iterator: Foreign) -> tuple[tf.Tensor, Foreign]:
        def on_replica(element: Structure) -> Structure:
            index, batch = element
            return keras.tree.map_structure(gathered, (index, self._model.predict_step(batch)))

        everywhere = self._strategy.run(on_replica, args=(next_of(iterator),))
        result: tuple[tf.Tensor, Any] = keras.tree.map_structure(
            lambda leaf: self._strategy.experimental_local_results(leaf)[0], everywhere
        )
        return result
