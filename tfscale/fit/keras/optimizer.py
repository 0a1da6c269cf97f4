"""Keras's optimizers, made to reduce gradients before they do anything else with them."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from tfscale.errors import ConfigError
from tfscale.structures import Foreign, Gradient


class ReducedUpdate:
    """Makes an optimizer reduce gradients before it clips, checks and applies them.

    Stock Keras 3 clips and checks for overflow before gradients are summed over replicas, so that
    the result depends on their number, and an overflow on any replica but the first reaches the
    weights. Whoever calls `optimizer.apply` or `apply_gradients`, a train_step of the user's own
    too, gets this instead.

    Args:
        optimizer: whose `apply` is replaced.
        reduce: sums gradients over all replicas.

    Raises:
        ConfigError: the optimizer wants to accumulate by itself, which can't work with several
            replicas (https://github.com/keras-team/keras/issues/20582).
    """

    def __init__(
        self,
        optimizer: keras.optimizers.Optimizer,
        reduce: Callable[[Sequence[Any]], list[Gradient]],
    ) -> None:
        """Replaces `apply` on this one optimizer."""
        layers = [optimizer]
        if hasattr(optimizer, "inner_optimizer"):
            layers.append(optimizer.inner_optimizer)
        for layer in layers:
            count = layer.gradient_accumulation_steps
            if count:
                raise ConfigError(
                    f"{type(layer).__name__}(gradient_accumulation_steps={count}) accumulates "
                    f"after the all-reduce; expected none. Use --accumulate_steps={count} instead, "
                    "with that many times the batch size."
                )
            layer._all_reduce_sum_gradients = list
        self._reduce = reduce
        self._rate = _LearningRate(layers[-1])
        self._original = optimizer.apply
        # Replicas of a worker are traced in threads of their own, which take turns.
        self._of_thread = threading.local()
        optimizer.apply = self

    def __call__(
        self, gradients: Sequence[Any], trainable_variables: Sequence[Any] | None = None
    ) -> None:
        """Reduces and applies, or only keeps what it is given while `held`."""
        kept = getattr(self._of_thread, "kept", None)
        if kept is None:
            with self._rate.asked_once():
                self._original(self._reduce(gradients), trainable_variables)
        else:
            kept.append((list(gradients), trainable_variables))

    @contextlib.contextmanager
    def held(self) -> Iterator[list[tuple[list[Gradient], Sequence[Any] | None]]]:
        """Keeps gradients back in the body: gives the list that they are kept in."""
        kept: list[tuple[list[Gradient], Sequence[Any] | None]] = []
        self._of_thread.kept = kept
        try:
            yield kept
        finally:
            self._of_thread.kept = None


class _LearningRate:
    """Evaluates a schedule once a step, where Keras does so again for each variable that decays.

    A schedule with a warm-up is a conditional within a conditional: with 16 variables that was a
    quarter of a second of tracing, and as many conditionals in every step.

    Args:
        optimizer: the innermost one, which has the schedule.
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Replaces how this one optimizer looks it up."""
        self._optimizer = optimizer
        self._original = optimizer._get_current_learning_rate
        self._known: Any = None
        optimizer._get_current_learning_rate = self._look_up

    def _look_up(self) -> Foreign:
        return self._original() if self._known is None else self._known

    @contextlib.contextmanager
    def asked_once(self) -> Iterator[None]:
        """In the body, what the optimizer updates has the rate of the body's beginning."""
        schedule = keras.optimizers.schedules.LearningRateSchedule
        if isinstance(self._optimizer._learning_rate, schedule):
            self._known = self._original()
        try:
            yield
        finally:
            self._known = None
