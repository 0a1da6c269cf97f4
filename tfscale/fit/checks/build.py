"""Builds a model with all that belongs to it, and finds out what its steps do."""

from collections.abc import Mapping
from dataclasses import dataclass

import keras
import tensorflow as tf

from tfscale.errors import ConfigError, one_line
from tfscale.fit.keras.batch_normalization import fuse_batch_normalization
from tfscale.fit.keras.install import build_by_calling, has_own_test_step, has_own_train_step
from tfscale.fit.keras.layers import own_variables
from tfscale.fit.keras.loss_reduction import may_ask
from tfscale.fit.keras.symbolic_step import SymbolicStep, trace_symbolically
from tfscale.structures import Spec


@dataclass(frozen=True)
class Steps:
    """What the steps of a model do.

    Args:
        optimizers: that a training step updates with.
        own_training: what a `train_step` of the user's own does, None for Keras's.
        own_test: what a `test_step` of the user's own does, None for Keras's.
        asks: how often a training step asks all replicas what its losses divide by; never the one.
        own_state: variables of layers of the user's own that a training step assigns.
    """

    optimizers: list[keras.optimizers.Optimizer]
    own_training: SymbolicStep | None
    own_test: SymbolicStep | None
    asks: int
    own_state: list[keras.Variable]


def build_steps(model: keras.Model, spec: Spec, strategy: tf.distribute.Strategy) -> Steps:
    """Makes all variables of a model, its metrics and its optimizers, on every replica alike.

    From shapes and dtypes: Keras would reduce a batch, which strings and integers don't take.

    Args:
        model: compiled.
        spec: of one replica's batch.
        strategy: in whose scope variables are made.

    Raises:
        ConfigError: the model or its step doesn't fit the data, or the step updates nothing.
    """
    training = test = None
    _require_texts(model, spec)
    with strategy.scope():
        _call(model, spec, is_required=not has_own_train_step(model))
        if has_own_train_step(model):
            training = _traced(model, "train_step", spec)
        if has_own_test_step(model):
            test = _traced(model, "test_step", spec)
        if training is None:
            optimizers = [model.optimizer] if model.optimizer is not None else []
        else:
            optimizers = training.optimizers
        if not optimizers:
            raise ConfigError(
                "The model updates with no Keras optimizer; expected a step that calls "
                "optimizer.apply or apply_gradients, so that gradients can be averaged over "
                "replicas. Compile the model with an optimizer and use it in train_step."
            )
        if training is None and not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        step = training
        # One replica asks nobody, and Keras's step builds nothing late.
        is_one = strategy.num_replicas_in_sync == 1
        if step is None and not is_one and (may_ask(model) or own_variables(model)):
            step = _traced(model, "train_step", spec)
    fuse_batch_normalization(model)
    step = step or SymbolicStep()
    own_state = [one for one in own_variables(model) if id(one) in step.updated]
    return Steps(optimizers, training, test, 0 if is_one else step.asks, own_state)


def require_fit(
    model: keras.Model, splits: Mapping[str, Spec], spec: Spec, strategy: tf.distribute.Strategy
) -> None:
    """Refuses a split whose examples the model can't take, which would show after an epoch.

    Args:
        model: compiled and built.
        splits: of one replica's batch of each split, by name.
        spec: of one replica's batch of the train split, which is known to fit.
        strategy: in whose scope variables are made.

    Raises:
        ConfigError: it doesn't fit.
    """
    for split, other in splits.items():
        if _shapes(other) == _shapes(spec):
            continue
        try:
            with strategy.scope():
                trace_symbolically(model.test_step, other)
        except Exception as error:
            raise ConfigError(
                f"The model doesn't fit the split {split!r}: {one_line(error)}. Its (x, y) = "
                f"{_shapes(other)}, those of 'train' {_shapes(spec)}; expected the same, or what "
                "the model takes as well. Make them alike in preprocess, or leave the split out."
            ) from error


def _require_texts(model: keras.Model, spec: Spec) -> None:
    """Refuses texts where a model takes numbers, and the other way: only a kernel would say so."""
    leaves, inputs = tf.nest.flatten(spec[0]), getattr(model, "inputs", None) or ()
    given = sum(leaf.dtype == tf.string for leaf in leaves)
    taken = sum(one.dtype == "string" for one in inputs)
    if len(leaves) != len(inputs) or given == taken:
        return
    kinds = ", ".join(f"{one.name}: {one.dtype}" for one in inputs)
    raise _misfit(f"it takes {kinds}, and {given or 'no'} texts come", spec)


def _call(model: keras.Model, spec: Spec, *, is_required: bool) -> None:
    """Builds by calling the model, as Keras does; a step of the user's own may do without."""
    try:
        build_by_calling(model, spec)
    except ConfigError:
        raise
    except Exception as error:
        if is_required:
            raise _misfit(one_line(error), spec) from error


def _traced(model: keras.Model, name: str, spec: Spec) -> SymbolicStep:
    try:
        return trace_symbolically(getattr(model, name), spec)
    except ConfigError:
        raise
    except Exception as error:
        raise _misfit(f"{name} raised {one_line(error)}", spec) from error


def _misfit(reason: str, spec: Spec) -> ConfigError:
    return ConfigError(
        f"The model doesn't fit the data: {reason}. The data has (x, y) = {_shapes(spec)}; change "
        "the model's inputs and outputs, its loss, or preprocess."
    )


def _shapes(spec: Spec) -> str:
    """Dtypes and shapes of an example's x and y, for the reader."""
    shapes = tf.nest.map_structure(
        lambda leaf: f"{leaf.dtype.name}{tuple(leaf.shape[1:])}", spec[:2]
    )
    return str(shapes).replace("'", "")
