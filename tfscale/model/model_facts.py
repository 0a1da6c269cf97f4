"""What of a model, its compilation and its callbacks can be compared between processes.

What only belongs to one process is left out: addresses, where a file lies there, and the numbers
that Keras puts behind names (`dense_3`), which count what was made there before.
"""

import hashlib
import inspect
import math
import re
import warnings
import zlib
from collections.abc import Iterable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfscale.model.user_callbacks import runs_everywhere
from tfscale.structures import Foreign, Json

_COUNTED = re.compile(r"_\d+(?=/|$)")
_COUNTED_WITHIN = re.compile(r"_\d+(?=[_/]|$)")
# What Keras names the state of a generator of random numbers: each replica has its own, on purpose.
RANDOM_STATE = "seed_generator_state"


def facts_of(model: keras.Model) -> dict[str, Json]:
    """Of a compiled model: what decides which collectives run, and what comes out of them.

    Args:
        model: the user's.
    """
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return {
        "the outputs of the model": described(getattr(model, "output_names", None)),
        "the optimizer of the model": described(optimizer),
        "the loss of the model": described(model.loss),
        "the layers of the model": described(model),
    }


def metric_facts(model: keras.Model) -> dict[str, Json]:
    """Of the metrics of a built model: before, Keras hasn't made those of `compile` yet."""
    # What compile() was given is in one metric that holds the others.
    metrics = [one for metric in model.metrics for one in getattr(metric, "metrics", [metric])]
    return {"the metrics of the model": described(metrics)}


def variable_facts(model: keras.Model) -> dict[str, Json]:
    """Of which variables a model has; where they differ, much else does too."""
    return {"the variables of the model": [_variable(one) for one in model.variables]}


def weight_facts(
    model: keras.Model, strategy: tf.distribute.Strategy, values: Mapping[int, str]
) -> dict[str, Json]:
    """Of the values that a model's variables start with, where `build` has set them.

    Args:
        model: the user's, whose variables are there.
        strategy: whose replicas hold the variables; nothing travels to read them.
        values: what is known of TensorFlow's variables, by their ids: a checksum, or that one has
            the value that it was made with and starts with the chief's, whatever that is.
    """

    def value(variable: keras.Variable) -> str:
        own = strategy.experimental_local_results(variable.value)[0]
        return values.get(id(own)) or f"{checksum(own.numpy()):08x}"

    # A list: without their numbers, names are no longer each variable's own.
    started = [
        f"{uncounted(one.path)} {value(one)}" for one in model.variables if one.name != RANDOM_STATE
    ]
    return {"the weights that the model starts with": started}


def callback_facts(callbacks: Sequence[keras.callbacks.Callback]) -> dict[str, Json]:
    """Which callbacks run everywhere, and the numbers of those of Keras: `monitor`, ..."""
    everywhere = [_callback(one) for one in callbacks if runs_everywhere(one)]
    return {"the callbacks of the model file": everywhere}


def described(value: Foreign) -> Json:
    """Any part of a model as what JSON can hold: its class and its configuration."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _entry(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [described(item) for item in value]
    if isinstance(value, np.ndarray | np.generic | keras.Variable | tf.Tensor | tf.Variable):
        return _array(np.asarray(value))
    if inspect.isfunction(value):
        return f"{value.__qualname__}() {_source_hash(value)}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a lambda, that it is unsafe to load
            config = value.get_config()
    except Exception:  # whatever a user's class raises: it can't say more about itself
        config = None
    name = getattr(value, "__qualname__", type(value).__qualname__)
    return {"class": name, "config": described(config)} if isinstance(config, Mapping) else name


def _entry(key: str, value: Foreign) -> Json:
    if key in ("name", "module", "inbound_nodes", "input_layers", "output_layers", "keras_history"):
        return _uncounted(value)
    # A lambda is stored as its bytes, with the path of the file that it was written in.
    if key == "config" and isinstance(value, Mapping) and set(value) == {"value"}:
        return type(value["value"]).__name__
    return described(value)


def _uncounted(value: Foreign) -> Json:
    if isinstance(value, str):
        return uncounted(value)
    if isinstance(value, Mapping):
        return {str(key): _uncounted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_uncounted(item) for item in value]
    return described(value)


def _variable(variable: keras.Variable) -> str:
    frozen = "" if variable.trainable else ", not trained"
    shape = "x".join(map(str, variable.shape)) or "one number"
    return f"{uncounted(variable.path)} {variable.dtype} {shape}{frozen}"


def _callback(callback: keras.callbacks.Callback) -> str:
    kind = type(callback)
    if not kind.__module__.startswith("keras."):
        return kind.__qualname__  # a user's may keep its rank, or what only the chief has
    numbers = {
        name: value
        for name, value in sorted(vars(callback).items())
        if not name.startswith("_")
        and (isinstance(value, bool | int | float) or name in ("monitor", "mode"))
    }
    return f"{kind.__name__}({', '.join(f'{name}={value}' for name, value in numbers.items())})"


def uncounted(text: str, *, within: bool = False) -> str:
    """A name without the numbers that Keras counts what one process makes with: `dense_3`.

    Args:
        text: the name.
        within: whether names are joined in it, as an optimizer does: `dense_3_kernel_momentum`.
    """
    return (_COUNTED_WITHIN if within else _COUNTED).sub("", text)


def _array(array: np.ndarray) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:8]
    return f"{array.dtype}{array.shape} {digest}"


def local_value(variable: keras.Variable, strategy: tf.distribute.Strategy) -> np.ndarray:
    """What a variable is on this worker's first replica, without asking any other worker."""
    array: np.ndarray = strategy.experimental_local_results(variable.value)[0].numpy()
    return array


def checksum(array: np.ndarray) -> int:
    """Of the bytes of an array in C order; 1 GB takes about half a second."""
    if array.dtype == object:  # texts
        return zlib.adler32("\0".join(map(str, array.flat)).encode())
    return zlib.adler32(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data)


def _source_hash(function: Foreign) -> str:
    try:
        return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:8]
    except (OSError, TypeError):
        return ""


def weights_bytes(variables: Iterable[keras.Variable]) -> int:
    """Bytes of all elements of Keras variables, in their own dtypes."""
    return sum(math.prod(variable.shape) * variable.value.dtype.size for variable in variables)
