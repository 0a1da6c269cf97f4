"""`evaluate` on all replicas: every example once, whatever the number divides by."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf

from tfscale.data.feed import next_of
from tfscale.fit.keras.loops import Call
from tfscale.fit.keras.loss_reduction import sharing
from tfscale.fit.keras.losses import output_losses_weighted
from tfscale.fit.loss_shares import RowShare
from tfscale.fit.metrics.metric_totals import MetricTotals
from tfscale.fit.metrics.step_logs import OwnLogs
from tfscale.gradients.all_reduce import sum_over_replicas
from tfscale.structures import Foreign, Json, Structure

STEPS_PER_CALL = 64  # of an evaluation


@dataclass(frozen=True)
class HowToEvaluate:
    """How an evaluation is run.

    Args:
        is_alone: whether this worker evaluates all by itself.
        numbers_are_sums: whether numbers that own losses give are sums over examples.
    """

    is_alone: bool
    numbers_are_sums: bool


class Evaluation:
    """Runs the model's `test_step` on the rows that aren't padding.

    Args:
        model: compiled and built.
        strategy: of the job.
        totals: the model's metric variables.
        own: what the model's own `test_step` returned, if it has one.
        num_workers: that evaluate together.
        how: it is run.
    """

    def __init__(
        self,
        model: keras.Model,
        strategy: tf.distribute.Strategy,
        totals: MetricTotals,
        own: OwnLogs,
        *,
        num_workers: int,
        how: HowToEvaluate,
    ) -> None:
        self._model = model
        self._strategy = strategy
        self._totals = totals
        self._num_workers = num_workers
        self._how = how
        self._own = own
        self._own_sums = self._own.packing.zeros()
        self._seen = 0.0
        self._test_loop = tf.function(self._test_steps, autograph=False)

    def test_call(self, call: Call) -> dict[str, Json]:
        """Evaluates the steps of a call; gives the logs of all replicas so far.

        Raises:
            StopIteration: a stream has ended on every worker.
        """
        if call.is_first:
            self._own_sums, self._seen = self._own.packing.zeros(), 0.0
        packed, own, seen = self._test_loop(call.input.iterator, tf.constant(call.steps))
        if call.input.steps is None and seen.numpy() == 0:
            raise StopIteration
        self._seen += float(seen)
        self._own_sums += own.numpy()
        means = self._own.packing.unpack(self._own_sums / max(self._seen, 1.0))
        return self._own.shown(self._totals.packing.unpack(packed), means)

    def _test_steps(
        self, iterator: Foreign, steps: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Evaluates `steps` steps.

        Returns:
            Packed metric totals; sums over the examples of all replicas of what a `test_step` of
            the user's own returned, packed; the number of these examples.
        """

        def body(number: tf.Tensor, sums: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            found = self._strategy.run(self._replica_test_step, args=(next_of(iterator),))
            return number + 1, sums + tf.add_n(self._strategy.experimental_local_results(found))

        size = 1 + sum(self._own.packing.sizes)
        _, sums = tf.while_loop(
            lambda number, _: number < steps,
            body,
            (tf.constant(0), tf.zeros([size], tf.float64)),
            parallel_iterations=1,
        )

        def on_replica() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            local_replicas = context.num_replicas_in_sync // self._num_workers
            packed = tf.concat(
                [self._totals.packing.pack(self._totals.local()), sums / local_replicas], axis=0
            )
            if context.num_replicas_in_sync == 1 or self._how.is_alone:
                return packed
            return sum_over_replicas(packed)

        parts = self._strategy.experimental_local_results(self._strategy.run(on_replica))
        summed = tf.add_n(list(parts)) if self._how.is_alone else parts[0]
        return summed[:-size], summed[1 - size :] if size > 1 else summed[:0], summed[-size]

    def _replica_test_step(self, element: Structure) -> tf.Tensor:
        """Evaluates the rows of a replica batch that aren't padding.

        A replica without such a row takes part all the same, because a loss may ask the others; it
        evaluates one that is padding, and forgets what came out.

        Returns:
            float64 (1 + n,): the number of rows, and their sums of the n own logs, packed.
        """
        index, batch = element
        count = tf.reduce_sum(tf.cast(index >= 0, tf.int32))
        rows = tf.maximum(count, 1)
        before = [tf.identity(variable.value) for variable in self._totals.variables]
        # Who evaluates alone can't ask the others.
        replicas = 1 if self._how.is_alone else self._strategy.num_replicas_in_sync
        share = RowShare(replicas, count, numbers_are_sums=self._how.numbers_are_sums)
        with sharing(share), output_losses_weighted(self._model, rows):
            logs = self._model.test_step(tf.nest.map_structure(lambda leaf: leaf[:rows], batch))

        def forget() -> tf.Tensor:
            for variable, value in zip(self._totals.variables, before, strict=True):
                variable.assign(value)
            return tf.constant(0)

        tf.cond(count > 0, lambda: tf.constant(0), forget)
        weight = tf.cast(count, tf.float64)
        own = self._own.packing.pack(self._own.picked(logs))
        sums = tf.where(count > 0, own * weight, tf.zeros_like(own))
        return tf.concat([[weight], sums], axis=0)


def evaluations(
    model: keras.Model,
    strategy: tf.distribute.Strategy,
    totals: MetricTotals,
    own: OwnLogs,
    *,
    num_workers: int,
    numbers_are_sums: bool,
) -> Callable[[Call], dict[str, Json]]:
    """The `test_call` of all workers together, and of one that evaluates alone, in one.

    Args:
        model: compiled and built.
        strategy: of the job.
        totals: the model's metric variables.
        own: what the model's own `test_step` returned, if it has one.
        num_workers: of the job.
        numbers_are_sums: whether numbers that own losses give are sums over examples.
    """
    together, alone = (
        Evaluation(
            model,
            strategy,
            totals,
            own,
            num_workers=1 if is_alone else num_workers,
            how=HowToEvaluate(is_alone=is_alone, numbers_are_sums=numbers_are_sums),
        )
        for is_alone in (False, True)
    )
    return lambda call: (alone if call.input.is_alone else together).test_call(call)
