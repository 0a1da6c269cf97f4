"""How long a step takes one replica alone: what scaling efficiency is measured against."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfscale.config import Config
from tfscale.errors import ConfigError

_SECONDS = 1.0
_MOST_STEPS = 1024


def baseline_seconds(config: Config, *, replica_batch: int) -> float | None:
    """Seconds of a step in the report that `baseline_report` names, None without one.

    Args:
        config: of the run.
        replica_batch: examples of a replica's step; a report with another batch is scaled.

    Raises:
        ConfigError: it isn't a report of one replica.
    """
    if not config.baseline_report:
        return None
    path = Path(config.baseline_report)
    try:
        report = json.loads(path.read_text())
        replicas, rate = report["replicas"], report["examples_per_second"]["median"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--baseline_report={path} can't be read ({type(error).__name__}: {error}); expected "
            "the report.json of a run on one replica."
        ) from error
    if replicas != 1:
        raise ConfigError(
            f"--baseline_report={path} is of {replicas} replicas; expected one. Use the report of "
            "a run on one device, or --measure_efficiency."
        )
    return float(replica_batch / rate)


def measured_seconds(
    model: keras.Model,
    strategy: tf.distribute.Strategy,
    step: Callable[[Any], Any],
    spec: Any,  # noqa: ANN401
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
