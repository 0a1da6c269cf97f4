"""Whether a model gives probabilities or logits, which decides what its loss is.

Taken for the other, probabilities would go through a second softmax: the model trains, badly, and
says nothing. So this is found out in three ways, the cheapest first: the last layer's activation;
what comes out for a few real examples; the operation that the output comes from. Where all three
leave a doubt, the user is asked to compile the model.
"""

import types
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfscale.errors import ConfigError, one_line
from tfscale.structures import Foreign, Structure

_PROBABILITIES = ("softmax", "sigmoid", "hard_sigmoid", "sparsemax")
# Layers whose result is that of their activation.
_ENDS_IN_ACTIVATION = (
    keras.layers.Activation,
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
)
# A row of bfloat16 probabilities, of which each is rounded to 8 bits, sums to 1 within 0.004.
_ROUNDING = 0.02


@dataclass(frozen=True)
class Output:
    """What a model gives.

    Args:
        are_probabilities: or logits.
        told_by: how that is known, for the reader.
    """

    are_probabilities: bool
    told_by: str

    def __str__(self) -> str:
        """What it is and how that is known."""
        return f"{'probabilities' if self.are_probabilities else 'logits'} ({self.told_by})"


def output_of(model: keras.Model, x: Structure, *, has_classes: bool) -> Output:
    """Says what the single output of a built model is; changes nothing in it.

    Args:
        model: built, in the scope of the strategy that this is called in.
        x: a few real examples, stacked; the same on every worker, because all must agree.
        has_classes: whether the probabilities of one example sum to 1; False for a single number
            or several labels.

    Raises:
        ConfigError: it can't be told, or the model fails.
    """
    of_last_layer = _by_last_layer(model)
    if of_last_layer is not None:
        return Output(of_last_layer, "by its last layer")
    values, sources = _try_out(model, x)
    told_by = f"tried on {len(values)} examples"
    if not np.all(np.isfinite(values)):
        raise ConfigError(_doubt(values, "are not all finite"))
    if np.any(values < 0.0) or np.any(values > 1.0 + _ROUNDING):
        return Output(False, told_by)
    if values.shape[-1] > 1 and np.all(np.abs(values.sum(axis=-1) - 1.0) < _ROUNDING):
        return Output(True, told_by)
    if sources == {"logits"}:
        return Output(False, "by its last operation")
    if sources == {"Sigmoid"} or (sources == {"Softmax"} and not has_classes):
        return Output(True, "by its last operation")
    low, high = values.min(), values.max()
    raise ConfigError(_doubt(values, f"lie between {low:.3g} and {high:.3g}"))


def _doubt(values: Any, what: str) -> str:  # noqa: ANN401 - an array of NumPy
    return (
        f"Whether the model gives probabilities or logits can't be told: its outputs for the first "
        f"{len(values)} examples {what}; expected a softmax or sigmoid, or a last layer without "
        "activation. Compile the model in build, with a loss that has from_logits=True or False."
    )


def _by_last_layer(model: keras.Model) -> bool | None:
    """What the last layer says, or None where what comes out isn't that of a known layer."""
    last: Foreign = model
    # Somebody's own class may do anything with what its layers give.
    while isinstance(last, keras.Model) and type(last).__module__.startswith("keras."):
        operations = getattr(last, "operations", None) or last.layers
        if len(getattr(last, "outputs", None) or [None]) != 1 or not operations:
            return None
        last = operations[-1]
    if type(last) is keras.layers.Softmax:
        return True if last.axis == -1 else None
    if type(last) not in _ENDS_IN_ACTIVATION:
        return None
    activation = last.activation
    name = getattr(activation, "__name__", "")
    is_known = isinstance(activation, types.FunctionType) and activation.__module__.startswith(
        "keras."
    )
    # An Activation may be there for its dtype alone, behind a softmax.
    if not is_known or (isinstance(last, keras.layers.Activation) and name == "linear"):
        return None
    return name in _PROBABILITIES


def _try_out(model: keras.Model, x: Structure) -> tuple[Any, set[str]]:
    """What the model gives for real examples, and where in its graph that comes from.

    Returns:
        Values, float64 (examples, ..., outputs), and names as `_sources_of` gives.
    """
    strategy = tf.distribute.get_strategy()
    sources: set[str] = set()

    def forward(batch: Structure) -> tf.Tensor:
        (output,) = tf.nest.flatten(model(batch, training=False))
        sources.update(_sources_of(output))
        return tf.cast(output, tf.float64)

    before = _states(model, strategy)
    try:
        tried = tf.function(lambda batch: strategy.run(forward, (batch,)), autograph=False)
        outputs = tried(_of_fixed_size(model, x))
    except Exception as error:
        raise ConfigError(
            f"The model doesn't fit the data: it raised {one_line(error)} for the first examples; "
            "expected its output. Change the model or preprocess."
        ) from error
    # A layer that draws when it isn't training either would go on from another number.
    for component, value in before:
        component.assign(value)
    values = strategy.experimental_local_results(outputs)[0].numpy()
    return (values[:, np.newaxis] if values.ndim == 1 else values), sources


def _states(
    model: keras.Model, strategy: tf.distribute.Strategy
) -> list[tuple[tf.Variable, tf.Tensor]]:
    return [
        (component, tf.identity(component))
        for variable in model.non_trainable_variables
        for component in strategy.experimental_local_results(variable.value)
    ]


def _of_fixed_size(model: keras.Model, x: Structure) -> Structure:
    """As many examples as a model takes that has the size of its batch built in."""
    sizes = {tensor.shape[0] for tensor in getattr(model, "inputs", None) or []} - {None}
    if not sizes:
        return x
    return tf.nest.map_structure(
        lambda leaf: tf.gather(leaf, tf.range(max(sizes)) % tf.shape(leaf)[0]), x
    )


# What hands on probabilities as probabilities, as long as all that comes out is in 0..1.
_HANDS_ON = (
    *("Identity", "Cast", "Reshape", "Squeeze", "ExpandDims", "StridedSlice", "ConcatV2", "Pack"),
    *("AddV2", "AddN", "BiasAdd", "Mul", "RealDiv", "Mean", "Sub", "StopGradient", "EnsureShape"),
)
_PRODUCTS = (
    *("MatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum", "Conv2D", "Conv3D"),
    *("Conv2DBackpropInput", "Conv3DBackpropInputV2", "DepthwiseConv2dNative"),
)
_SHAPES_WEIGHTS = ("Identity", "Cast", "Reshape", "Transpose", "ExpandDims")
_IS_CONSTANT = ("Const", "ReadVariableOp", "Shape")


def _sources_of(output: tf.Tensor) -> set[str]:
    """The operations that an output comes from, through those that only hand it on.

    "logits" stands for every product with weights; other operations have TensorFlow's name.
    """
    found: set[str] = set()
    waiting, seen = [output], set()
    while waiting:
        operation = waiting.pop().op
        if operation.name in seen or operation.type in _IS_CONSTANT:
            continue
        seen.add(operation.name)
        if operation.type in _HANDS_ON:
            waiting.extend(operation.inputs)
            continue
        # A product of two things that were computed may be a mixture of probabilities.
        has_weights = any(_is_weight(factor) for factor in operation.inputs)
        is_logits = operation.type in _PRODUCTS and has_weights
        found.add("logits" if is_logits else operation.type)
    return found


def _is_weight(factor: tf.Tensor) -> bool:
    operation = factor.op
    while operation.type in _SHAPES_WEIGHTS:
        operation = operation.inputs[0].op
    return bool(operation.type == "ReadVariableOp")
