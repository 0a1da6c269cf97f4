"""The way of the gradients of each optimizer that a model updates with."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.fit.checks.build import Steps
from tfscale.fit.keras.optimizer import ReducedUpdate, is_linear, optimized_variables
from tfscale.gradients.reducer import GradientReducer, ReducerSettings
from tfscale.gradients.wires import Wire


def make_reducers(
    optimizers: Sequence[keras.optimizers.Optimizer],
    strategy: tf.distribute.Strategy,
    wire: Wire,
    *,
    bucket_bytes: int,
    observe: Callable[[tf.Tensor, tf.Tensor], None],
) -> list[GradientReducer]:
    """One for each optimizer; what a lossy wire keeps back is each replica's own.

    Args:
        optimizers: built.
        strategy: whose replicas are summed over.
        wire: how gradients are sent.
        bucket_bytes: gradients that travel together.
        observe: gets when each bucket was ready and when it was summed; see `GradientReducer`.

    Raises:
        ConfigError: the wire is lossy and a loss is scaled.
    """
    is_lossy = wire.is_lossy and strategy.num_replicas_in_sync > 1
    return [
        GradientReducer(
            ReducerSettings(
                bucket_bytes,
                wire,
                residuals=_residuals(optimizer, strategy, wire) if is_lossy else [],
                observe=observe,
                may_add_rows=is_linear(optimizer),
            )
        )
        for optimizer in optimizers
    ]


def make_updates(
    steps: Steps, reducers: Sequence[GradientReducer], replicas: int
) -> list[ReducedUpdate]:
    """Makes each optimizer that a step updates with use its reducer; see `ReducedUpdate`."""
    is_kerass = steps.own_training is None
    return [
        ReducedUpdate(optimizer, reducer, replicas=replicas, is_scaled_by_keras=is_kerass)
        for optimizer, reducer in zip(steps.optimizers, reducers, strict=True)
    ]


def _residuals(
    optimizer: keras.optimizers.Optimizer, strategy: tf.distribute.Strategy, wire: Wire
) -> list[tf.Variable]:
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise ConfigError(
            f"--compress={wire.name} keeps gradients for the next step, whose loss "
            "scale may be another; expected no loss scaling. Use "
            "--precision=mixed_bfloat16, or leave --compress out."
        )
    with strategy.scope():
        return [
            tf.Variable(
                tf.zeros(variable.shape, variable.dtype),
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.SUM,
            )
            for variable in optimized_variables(optimizer)
        ]
