"""How long a step takes one replica alone: what scaling efficiency is measured against."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfscale.fit.parts import Parts
from tfscale.structures import Spec

_SECONDS = 1.0
_MOST_STEPS = 1024


def seconds_alone(
    model: keras.Model, strategy: tf.distribute.Strategy, parts: Parts, spec: Spec
) -> float:
    """Seconds of a step of one replica that waits for nobody; changes no state.

    Args:
        model: compiled and built.
        strategy: of the job.
        parts: of the model's step.
        spec: of one replica's batch, with static shapes.
    """
    for reducer in parts.reducers:
        reducer.is_bypassed = True
    try:
        return measured_seconds(model, strategy, parts.train_step, spec)
    finally:
        for reducer in parts.reducers:
            reducer.is_bypassed = False


def measured_seconds(
    model: keras.Model,
    strategy: tf.distribute.Strategy,
    step: Callable[[Any], Any],
    spec: Spec,
) -> float:
    """Times steps of replicas that don't talk to each other, on a batch of zeros.

    Weights and all other state are afterwards what they were.

    Args:
        model: compiled and built.
        strategy: of the job.
        step: one replica's training step, which must not reduce anything.
        spec: of one replica's batch, with static shapes.
    """
    components = [
        component
        for variable in (*model.variables, *model.optimizer.variables, *model.metrics_variables)
        for component in strategy.experimental_local_results(variable.value)
    ]
    saved = [tf.identity(component) for component in components]

    def on_replica() -> None:
        step(tf.nest.map_structure(lambda leaf: tf.zeros(leaf.shape, leaf.dtype), spec))

    def body(number: tf.Tensor) -> tuple[tf.Tensor]:
        strategy.run(on_replica)
        return (number + 1,)

    @tf.function(autograph=False)
    def seconds_of(steps: tf.Tensor) -> tf.Tensor:
        started = tf.timestamp()
        with tf.control_dependencies([started]):
            number = tf.constant(0)
        (done,) = tf.while_loop(
            lambda number: number < steps, body, (number,), parallel_iterations=1
        )
        with tf.control_dependencies([done]):
            return tf.timestamp() - started

    steps = 1
    seconds_of(tf.constant(steps))  # traces, and fills what is filled once
    seconds = float(seconds_of(tf.constant(steps)))
    while seconds < _SECONDS and steps < _MOST_STEPS:
        steps *= 4
        seconds = float(seconds_of(tf.constant(steps)))
    for component, value in zip(components, saved, strict=True):
        component.assign(value)
    return seconds / steps
