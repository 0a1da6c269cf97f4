"""Makes one model's `fit`, `evaluate` and `predict` run on all replicas.

Keras's own methods stay: they call the step functions that are installed here, iterate over an
`Input` (see `loops`), and the optimizer reduces gradients before it does anything else with them
(see `optimizer`). tests/jobs/test_parity.py names the defect behind each replacement.
"""

import functools
import logging
from collections.abc import Callable

import keras
import tensorflow as tf

from tfscale.fit.keras.classes import is_kerass
from tfscale.fit.keras.loops import StepFunctions, over_inputs
from tfscale.structures import Spec

_OF_BATCH = (keras.losses.dice, keras.losses.tversky, keras.losses.circle)


def build_by_calling(model: keras.Model, spec: Spec) -> None:
    """Builds model, metrics and losses from shapes and dtypes, as Keras does from a batch.

    Keras would all-reduce a batch to learn them, which strings and integers don't take
    (https://github.com/keras-team/keras/issues/20329).
    """
    optimizer, model.optimizer = model.optimizer, None
    try:
        model._symbolic_build(data_batch=spec)
    finally:
        model.optimizer = optimizer


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
    # An epoch that an earlier run has left after its last step has no logs but that step's.
    model._get_metrics_result_or_logs = lambda logs: logs or functions.last_logs()
    # Outside of the replicas TensorFlow reads a variable back after assigning it: an all-reduce of
    # 5 ms for each variable of each metric, at the beginning of every epoch and evaluation.
    model.reset_metrics = functools.partial(_run_in_silence, strategy, model.reset_metrics)
    for name in ("fit", "evaluate", "predict"):
        setattr(model, name, over_inputs(model, name, functions))


def _run_in_silence(strategy: tf.distribute.Strategy, function: Callable[[], None]) -> None:
    """Runs something on all replicas, without TensorFlow's five warnings that this is slow."""
    logger = tf.get_logger()
    logger.addFilter(_is_no_warning_of_a_run)
    try:
        strategy.run(function)
    finally:
        logger.removeFilter(_is_no_warning_of_a_run)


def _is_no_warning_of_a_run(record: logging.LogRecord) -> bool:
    return "eagerly has significant overhead" not in record.getMessage()


def has_own_train_step(model: keras.Model) -> bool:
    """Whether the model's class decides what a training step does, or what it returns."""
    return _is_own(model, "train_step") or _is_own(model, "compute_metrics")


def has_own_test_step(model: keras.Model) -> bool:
    """Whether the model's class decides what a step of an evaluation does, or returns."""
    return _is_own(model, "test_step") or _is_own(model, "compute_metrics")


def has_own_loss(model: keras.Model) -> bool:
    """Whether the model's class decides what a loss is."""
    return _is_own(model, "compute_loss")


def own_compiled_losses(model: keras.Model) -> list[keras.losses.Loss]:
    """The losses that a model is compiled with and that aren't Keras's, once it is built."""
    losses = _compiled_losses(model)
    return [one for one in losses if not is_kerass(getattr(one, "fn", type(one)))]


def has_loss_of_batch(model: keras.Model) -> bool:
    """Whether a model is compiled with one of Keras's losses that put examples together."""
    return any(getattr(one, "fn", None) in _OF_BATCH for one in _compiled_losses(model))


def _compiled_losses(model: keras.Model) -> list[keras.losses.Loss]:
    compiled = model._compile_loss
    flat = (compiled._flat_losses or []) if compiled is not None else []
    return [one.loss for one in flat]


def _is_own(model: keras.Model, name: str) -> bool:
    stock = getattr(keras.Model, name)
    return getattr(type(model), name) is not stock or name in vars(model)
