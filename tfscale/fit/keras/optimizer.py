"""Keras's optimizers, made to reduce gradients before they do anything else with them."""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.fit.keras.traced_losses import note_gradients, note_scaled
from tfscale.structures import Foreign, Gradient


class ReducedUpdate:
    """Makes an optimizer reduce gradients before it clips, checks and applies them.

    Stock Keras 3 clips and checks for overflow before gradients are summed over replicas, so that
    the result depends on their number, and an overflow on any replica but the first reaches the
    weights. Whoever calls `optimizer.apply` or `apply_gradients`, a train_step of the user's own
    too, gets this instead.

    Args:
        optimizer: whose `apply` is replaced; one that hands on to others is the outermost one.
        reduce: sums gradients over all replicas.
        replicas: of the job, by which the sum is divided.
        is_scaled_by_keras: whether all gradients are of losses that went through the optimizer's
            `scale_loss`, as Keras's own `train_step` has it: then the loss is divided there, which
            costs nothing.

    Raises:
        ConfigError: the optimizer wants to accumulate by itself, which can't work with several
            replicas (https://github.com/keras-team/keras/issues/20582).
    """

    def __init__(
        self,
        optimizer: keras.optimizers.Optimizer,
        reduce: Callable[[Sequence[Gradient]], list[Gradient]],
        *,
        replicas: int,
        is_scaled_by_keras: bool,
    ) -> None:
        """Replaces `apply`, and maybe `scale_loss`, on this one optimizer."""
        layers = _with_inner(optimizer)
        for layer in layers:
            count = layer.gradient_accumulation_steps
            if count:
                raise ConfigError(
                    f"{type(layer).__name__}(gradient_accumulation_steps={count}) accumulates "
                    f"after the all-reduce; expected none. Use --accumulate_steps={count} instead, "
                    "with that many times the batch size."
                )
            layer._all_reduce_sum_gradients = list
            if layer.use_ema:
                layer._overwrite_model_variables_with_average_value = functools.partial(
                    _overwrite_with_average, layer
                )
        self._reduce = reduce
        self._divisor = 1 if is_scaled_by_keras else replicas
        self._rates = [_LearningRate(layer) for layer in layers]
        # Which skips a step whose gradients overflow, and continues with a smaller scale.
        scaling = keras.optimizers.LossScaleOptimizer
        self._expects_overflows = any(isinstance(layer, scaling) for layer in layers)
        self._optimizer, self._original = optimizer, optimizer.apply
        # Replicas of a worker are traced in threads of their own, which take turns.
        self._of_thread = threading.local()
        optimizer.apply = self
        scale_loss, is_divided = optimizer.scale_loss, is_scaled_by_keras and replicas > 1

        def scaled(loss: tf.Tensor) -> tf.Tensor:
            result = scale_loss(loss)
            result = result / replicas if is_divided else result
            note_scaled(result, loss)
            return result

        optimizer.scale_loss = scaled

    def __call__(
        self,
        gradients: Sequence[Gradient],
        trainable_variables: Sequence[keras.Variable] | None = None,
    ) -> None:
        """Reduces and applies, or only keeps what it is given while `held`."""
        kept = getattr(self._of_thread, "kept", None)
        if kept is not None:
            kept.append((list(gradients), trainable_variables))
            return
        shares = [_divided(gradient, self._divisor) for gradient in gradients]
        variables = trainable_variables
        _tell_shapes(
            shares, optimized_variables(self._optimizer) if variables is None else variables
        )
        with contextlib.ExitStack() as stack:
            for rate in self._rates:
                stack.enter_context(rate.asked_once())
            reduced = self._reduce(shares)
            if not self._expects_overflows:
                note_gradients(reduced)
            self._original(reduced, trainable_variables)

    @contextlib.contextmanager
    def held(self) -> Iterator[list[tuple[list[Gradient], Sequence[Any] | None]]]:
        """Keeps gradients back in the body: gives the list that they are kept in."""
        kept: list[tuple[list[Gradient], Sequence[Any] | None]] = []
        self._of_thread.kept = kept
        try:
            yield kept
        finally:
            self._of_thread.kept = None


def _tell_shapes(gradients: Sequence[Gradient], variables: Sequence[keras.Variable]) -> None:
    """Tells TensorFlow that a gradient has its variable's shape.

    It doesn't know so by itself of a Dense layer on sequences whose length differs from batch to
    batch; buckets are made of gradients whose sizes are known.
    """
    if len(gradients) != len(variables):
        return  # Keras says what is wrong with it
    for gradient, variable in zip(gradients, variables, strict=True):
        if isinstance(gradient, tf.Tensor):
            gradient.set_shape(variable.shape)


def is_linear(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether an update is linear in gradients, so that rows of one index may be added up before.

    Keras squares the rows of an embedding's gradient one by one.
    """
    has_clipping = any(
        getattr(optimizer, name, None) for name in ("clipnorm", "global_clipnorm", "clipvalue")
    )
    return type(optimizer) is keras.optimizers.SGD and not has_clipping


def optimized_variables(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """The variables that a built optimizer updates, in its order."""
    return list(optimizer._trainable_variables)


def _with_inner(optimizer: keras.optimizers.Optimizer) -> list[keras.optimizers.Optimizer]:
    """An optimizer and those that it hands on to."""
    inner = [optimizer.inner_optimizer] if hasattr(optimizer, "inner_optimizer") else []
    inner += list(getattr(optimizer, "optimizers", []))
    return [optimizer, *(below for one in inner for below in _with_inner(one))]


def _overwrite_with_average(
    optimizer: keras.optimizers.Optimizer, trainable_variables: Sequence[keras.Variable]
) -> None:
    """Sets weights to their averages on this replica.

    Keras does so for all replicas at once, which it can't within the conditional that it does it in
    (https://www.tensorflow.org/api_docs/python/tf/distribute/ReplicaContext#merge_call).
    """
    averages = optimizer._model_variables_moving_average
    for variable, average in zip(trainable_variables, averages, strict=True):
        variable.assign(average)


def _divided(gradient: Gradient, divisor: int) -> Gradient:
    if gradient is None or divisor == 1:
        return gradient
    if isinstance(gradient, tf.IndexedSlices):
        values = gradient.values / tf.cast(divisor, gradient.dtype)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return gradient / tf.cast(divisor, gradient.dtype)


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


def unknown_variables(model: keras.Model) -> list[str]:
    """Paths of the trainable variables that the built optimizer of a model has no place for.

    Keras raises at the first step, with the variable's address. An optimizer that has been built by
    loading a model knows what was trainable then.
    """
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    known = getattr(optimizer, "_trainable_variables", None)
    if optimizer is None or not optimizer.built or not known:
        return []
    ids = {id(variable) for variable in known}
    return [one.path for one in model.trainable_variables if id(one) not in ids]
