"""`evaluate` on all replicas: every example once, whatever the number divides by."""

from typing import Any

import keras
import tensorflow as tf

from tfscale.data.feed import next_of
from tfscale.fit.keras.loops import Call
from tfscale.fit.keras.losses import output_losses_weighted
from tfscale.fit.metric_totals import MetricTotals
from tfscale.structures import Foreign, Structure

STEPS_PER_CALL = 64  # of an evaluation


class Evaluation:
    """Runs the model's `test_step` on the rows that aren't padding.

    Args:
        model: compiled and built.
        strategy: of the job.
        totals: the model's metric variables.
        num_workers: of the job.
        is_alone: whether this worker evaluates all by itself.
    """

    def __init__(
        self,
        model: keras.Model,
        strategy: tf.distribute.Strategy,
        totals: MetricTotals,
        num_workers: int,
        *,
        is_alone: bool = False,
    ) -> None:
        """Traces nothing yet."""
        self._is_alone = is_alone
        self._model = model
        self._strategy = strategy
        self._totals = totals
        self._num_workers = num_workers
        self._test_loop = tf.function(self._test_steps, autograph=False)

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
            if context.num_replicas_in_sync == 1 or self._is_alone:
                return packed
            return context.all_reduce(tf.distribute.ReduceOp.SUM, packed)

        parts = self._strategy.experimental_local_results(self._strategy.run(on_replica))
        summed = tf.add_n(list(parts)) if self._is_alone else parts[0]
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
