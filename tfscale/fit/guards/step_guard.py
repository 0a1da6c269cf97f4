"""Watches every step for a loss that isn't finite, inside the on-device loop.

By default a step only writes its loss into a list, one operation, and the list is looked through at
the end of the loop: a test in each step would cost several. The weights are looked at there too: a
loss may hide that they aren't finite, because TensorFlow's ReLU makes 0 of what isn't a number.

A guard that skips has to know before the next step begins, on all replicas: it looks at gradients,
asks the others, and puts back everything that the step has changed.
"""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfscale.fit.keras.symbolic_step import flat_logs
from tfscale.fit.keras.traced_losses import all_finite, noting
from tfscale.fit.state.training_state import TrainingState
from tfscale.gradients.all_reduce import sum_over_replicas
from tfscale.structures import Foreign, Structure

COLUMNS = 4  # of a worker's findings


class StepGuard:
    """Judges steps, and takes back those that are to be skipped.

    Args:
        strategy: whose replicas take them.
        state: what a step may change.
        weights: that are trained.
        skips: whether a step with a loss or gradients that aren't finite is taken back.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        state: TrainingState,
        weights: Sequence[keras.Variable],
        *,
        skips: bool,
    ) -> None:
        self._strategy = strategy
        self._components = state.components() if skips else []
        self._weights = [strategy.experimental_local_results(one.value)[0] for one in weights]
        self._skips = skips

    def judged(
        self, step: Callable[[Structure], Structure], batch: Structure
    ) -> tuple[Structure, tf.Tensor]:
        """Takes a step, in replica context; gives its logs and a float32 scalar.

        That is its loss; where steps are skipped, 0 or not a number, the same on all replicas.
        """
        with noting() as noted:
            logs = step(batch)
            loss = noted.loss()
            if loss is None:
                loss = tf.cast(flat_logs(logs).get("loss", 0.0), tf.float32)
            if not self._skips:
                return logs, loss
            is_fine = tf.math.is_finite(loss) & noted.are_gradients_finite()
        bad = tf.where(is_fine, 0.0, 1.0)
        if self._strategy.num_replicas_in_sync > 1:
            bad = sum_over_replicas(bad[tf.newaxis])[0]
        return logs, tf.where(bad > 0.0, np.nan, 0.0)

    def lists(self, steps: tf.Tensor) -> list[tf.TensorArray]:
        """Where the steps of a loop write, a list for each local replica."""
        replicas = len(self._strategy.extended.worker_devices)
        return [tf.TensorArray(tf.float32, size=steps, element_shape=()) for _ in range(replicas)]

    def before(self) -> list[tf.Tensor]:
        """What a step may change, as it is before the step."""
        return [one.read_value() for one in self._components] if self._skips else []

    def after(
        self,
        number: tf.Tensor,
        verdict: Structure,
        lists: Sequence[tf.TensorArray],
        kept: Sequence[tf.Tensor],
        means: tuple[list[tf.Tensor], list[tf.Tensor]],
    ) -> tuple[list[tf.Tensor], list[tf.TensorArray]]:
        """Notes a step, and takes it back where that is wanted; called outside of the replicas.

        Args:
            number: place of the step in its loop.
            verdict: of each replica.
            lists: of each replica.
            kept: what `before` gave.
            means: what is shown of the step before, and of this one.

        Returns:
            What is shown, and the lists.
        """
        own = list(self._strategy.experimental_local_results(verdict))
        lists = [_write(one, number, value) for one, value in zip(lists, own, strict=True)]
        if not self._skips:
            return means[1], lists
        is_taken = tf.math.is_finite(own[0])

        def put_back() -> tf.Tensor:
            for component, value in zip(self._components, kept, strict=True):
                component.assign(value)
            return tf.constant(0)

        tf.cond(is_taken, lambda: tf.constant(0), put_back)
        shown = [tf.where(is_taken, new, old) for old, new in zip(*means, strict=True)]
        return shown, lists

    def found(self, lists: Sequence[tf.TensorArray]) -> tuple[tf.Tensor, tf.Tensor]:
        """Looks through the lists of a loop.

        Returns:
            This worker's row of a `Verdict`, and the places of skipped steps, int64 (n,).
        """
        weights = tf.cast(~all_finite(self._weights), tf.float64)[tf.newaxis]
        nothing = tf.constant([-1.0, 0.0, 0.0], tf.float64)
        if self._skips:
            skipped = tf.where(tf.math.is_nan(lists[0].stack()))[:, 0]
            return tf.concat([nothing, weights], axis=0), skipped
        # Losses of several devices meet here, once a loop.
        losses = tf.stack([one.stack() for one in lists], axis=1)  # (steps, local replicas)
        bad = tf.where(~tf.math.is_finite(losses))  # in the order of steps, then of replicas

        def first() -> tf.Tensor:
            loss = losses[bad[0, 0], bad[0, 1]]
            infinite = tf.where(loss > 0.0, 1.0, 2.0)
            kind = tf.where(tf.math.is_nan(loss), 0.0, infinite)
            return tf.concat([tf.cast(bad[0], tf.float64), [tf.cast(kind, tf.float64)]], axis=0)

        row = tf.cond(tf.shape(bad)[0] > 0, first, lambda: nothing)
        return tf.concat([row, weights], axis=0), tf.zeros([0], tf.int64)


def _write(array: tf.TensorArray, number: tf.Tensor, value: tf.Tensor) -> Foreign:
    with tf.device(value.device):  # a scalar of another device would be waited for at each step
        return array.write(number, value)
