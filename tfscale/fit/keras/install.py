"""Every contact with the insides of Keras 3.15.1: a new version has one file to break.

Keras's own `fit`, `evaluate` and `predict` stay: they call the functions that are installed here,
iterate over an `Input` through `Epochs`, and the optimizer reduces gradients before it does
anything else with them. tests/jobs/test_parity.py names the defect behind each replacement.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.tensorflow import trainer as keras_trainer

from tfscale.fit.keras.loops import StepFunctions, _over_inputs


def build(model: keras.Model, spec: Any) -> None:  # noqa: ANN401 - the user's structure
    """Builds model, metrics and optimizer from shapes and dtypes.

    Keras would all-reduce a batch to learn them, which strings and integers don't take
    (https://github.com/keras-team/keras/issues/20329).
    """
    model._symbolic_build(data_batch=spec)
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)


def install(model: keras.Model, functions: StepFunctions, strategy: tf.distribute.Strategy) -> None:
    """Makes this one model's `fit`, `evaluate` and `predict` call `functions`.

    Args:
        model: compiled and built.
        functions: that run steps.
        strategy: whose replicas each have metrics of their own.
    """

    def make_train_function(force: bool = False) -> None:
        model.train_function = functions.train

    def make_test_function(force: bool = False) -> None:
        model.test_function = functions.test

    def make_predict_function(force: bool = False) -> None:
        model.predict_function = functions.predict

    model.make_train_function = make_train_function
    model.make_test_function = make_test_function
    model.make_predict_function = make_predict_function
    # The model is built, and the logs that reach these are already those of all replicas.
    model._maybe_symbolic_build = lambda *args, **kwargs: None
    model._get_metrics_result_or_logs = lambda logs: logs
    # Outside of the replicas TensorFlow reads a variable back after assigning it: an all-reduce of
    # 5 ms for each variable of each metric, at the beginning of every epoch and evaluation.
    model.reset_metrics = functools.partial(strategy.run, model.reset_metrics)
    for name in ("fit", "evaluate", "predict"):
        setattr(model, name, _over_inputs(name, getattr(model, name), functions))


def has_own_train_step(model: keras.Model) -> bool:
    """Whether the model's class brings a `train_step`."""
    stock = keras_trainer.TensorFlowTrainer.train_step
    return getattr(type(model), "train_step", stock) is not stock


@contextlib.contextmanager
def output_losses_weighted(model: keras.Model, count: tf.Tensor) -> Iterator[None]:
    """Weighs the loss of each output by the rows that it is the mean of, while a step is traced.

    Keras does so where the batch size is static only; elsewhere a batch of one row counts as much
    as a full one (compile_utils.CompileLoss.call).
    """
    trackers = list(getattr(model._compile_loss, "metrics", []))
    for tracker in trackers:
        original = tracker.update_state
        tracker.update_state = functools.partial(_weighted_update, original, count)
    try:
        yield
    finally:
        for tracker in trackers:
            del tracker.update_state


def _weighted_update(
    original: Callable[..., Any],
    count: tf.Tensor,
    value: tf.Tensor,
    sample_weight: Any = None,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    return original(value, sample_weight=count if sample_weight is None else sample_weight)
