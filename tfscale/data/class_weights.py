"""The weight of each example's class, where the dataset file gives one.

The rule is that of Keras's `fit(class_weight=...)`: a label whose last axis is longer than one is
one-hot, any other is the number of its class, rounded, and a class that isn't named has the weight
1. What Keras would weigh by accident (a multi-hot label, a row of pixels) is refused. Of a
multilabel task, which Keras has no rule for, each label that an example has weighs as its class.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.structures import Structure

# A float by the number of its class, or such a table for each output by its name.
Table = dict[Any, Any]

_EXAMPLE = "for example class_weight = {0: 1.0, 1: 5.0}"
_ROUNDING = 0.02  # a one-hot or smoothed label may be float16


def read_table(given: object, name: str, num_classes: object) -> Table | None:
    """What a dataset file gives as `class_weight`, with numbers for keys.

    Args:
        given: the file's; None where it has none.
        name: of the file, for messages.
        num_classes: that the file gives, or None.

    Raises:
        ConfigError: it is no table, or a class or a weight in it isn't one.
    """
    if given is None or (isinstance(given, Mapping) and not given):
        return None
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"{name} has class_weight = {_shown(given)}; expected a dict of weights by class, "
            f"{_EXAMPLE}. Make one of a list with dict(enumerate(...))."
        )
    tables = [isinstance(value, Mapping) for value in given.values()]
    if not any(tables):
        return _weights(given, f"{name} has class_weight", num_classes)
    if not all(tables):
        raise ConfigError(
            f"{name} has class_weight = {_shown(given)}, partly by class and partly by output; "
            f"expected one of both, {_EXAMPLE}."
        )
    # Each output may have another number of classes than the file names.
    return {
        str(output): _weights(table, f"{name} has class_weight[{output!r}]", None)
        for output, table in given.items()
    }


def _weights(table: Mapping[Any, Any], where: str, num_classes: object) -> dict[int, float]:
    weights: dict[int, float] = {}
    for key, value in table.items():
        number = _class_number(key, where)
        if number in weights:
            raise ConfigError(f"{where} names class {number} twice; expected each class once.")
        # One output stands for two classes.
        if isinstance(num_classes, int) and number >= max(num_classes, 2):
            raise ConfigError(
                f"{where} for class {key!r}, but num_classes = {num_classes}; expected classes "
                f"from 0 to {max(num_classes, 2) - 1}."
            )
        weights[number] = _weight(value, key, where)
    return weights


def _class_number(key: Any, where: str) -> int:  # noqa: ANN401 - anything may be a key
    """A class as the user wrote it: 0, "0" (as JSON has it), 0.0 or a number of NumPy."""
    try:
        number = float(key)
        if number == int(number):
            return int(number)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ConfigError(f"{where} for class {key!r}; expected whole numbers, {_EXAMPLE}.")


def _weight(value: Any, key: object, where: str) -> float:  # noqa: ANN401
    try:
        weight = math.nan if isinstance(value, str | bytes | bool) else float(value)
    except (TypeError, ValueError):
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise ConfigError(
            f"{where}[{key!r}] = {_shown(value)}; expected a number of at least 0, {_EXAMPLE}."
        )
    return weight


def require_classes(
    table: Table | None, labels: Structure, name: str, *, task: str, num_classes: object
) -> None:
    """Refuses labels that have no class, seen at a real example.

    Args:
        table: that `read_table` gave.
        labels: `y` of one example.
        name: of the dataset file, for messages.
        task: that the file names.
        num_classes: that the file gives, or None.

    Raises:
        ConfigError: a label is no class, or an output isn't there.
    """
    if table is None:
        return
    if not _is_by_output(table):
        if tf.nest.is_nested(labels):
            raise ConfigError(
                f"{name} has one class_weight for several labels ({_described(labels)}); expected "
                'a table for each by its name, for example class_weight = {"kind": {0: 1.0}}.'
            )
        _require_class(labels, f"{name} has class_weight", task=task, num_classes=num_classes)
        return
    if not isinstance(labels, dict):
        raise ConfigError(
            f"{name} has class_weight by output ({', '.join(table)}), but labels without names "
            f"({_described(labels)}); expected a dict of labels, or {_EXAMPLE}."
        )
    for output in table:
        if output not in labels:
            raise ConfigError(
                f"{name} has class_weight[{output!r}], but labels {', '.join(map(str, labels))}; "
                "expected one of their names."
            )
        where = f"{name} has class_weight[{output!r}]"
        _require_class(labels[output], where, task="classification", num_classes=None)


def _require_class(label: tf.Tensor, where: str, *, task: str, num_classes: object) -> None:
    label = tf.convert_to_tensor(label)
    came = f"{where}, but a label is {_described(label)}"
    if not (label.dtype.is_floating or label.dtype.is_integer or label.dtype.is_bool):
        raise ConfigError(f"{came}; expected the number of a class. Look it up in preprocess.")
    if not label.shape.rank or label.shape[-1] == 1:
        return
    if task == "multilabel" and label.shape.rank == 1:
        return
    advice = (
        f"{came} {{}}; expected one class, as its number or one-hot. "
        "Give (x, y, sample_weight) in preprocess instead."
    )
    if task in ("multilabel", "regression"):
        raise ConfigError(advice.format(f"of task {task!r}"))
    if isinstance(num_classes, int) and label.shape[-1] != num_classes:
        raise ConfigError(advice.format(f"with num_classes = {num_classes}"))
    values = tf.cast(label, tf.float64).numpy()
    is_one_hot = np.all(np.abs(values.sum(axis=-1) - 1.0) < _ROUNDING) and values.min(initial=0) > (
        -_ROUNDING
    )
    if not is_one_hot:
        raise ConfigError(advice.format("that isn't one-hot"))


def weight_function(table: Table | None, task: str = "classification") -> Callable[[Any], Any]:
    """What adds the weight of each example's class; leaves examples alone without a table.

    Args:
        table: that `read_table` gave.
        task: that the file names; of "multilabel" there is a weight for each label.
    """
    if table is None:
        return lambda example: example
    weigh = _weights_of_labels if task == "multilabel" else _weight_of

    def weighted(example: Structure) -> Structure:
        x, y, *given = example
        weights: Structure
        if _is_by_output(table):
            weights = {name: _weight_of(label, table.get(name, {})) for name, label in y.items()}
        else:
            weights = weigh(y, table)
        for also in given:
            beside = also if isinstance(also, dict) else tf.nest.map_structure(lambda _: also, y)  # noqa: B023
            weights = tf.nest.map_structure(
                lambda own, other: own * tf.cast(other, own.dtype), weights, beside
            )
        return x, y, weights

    return weighted


def _weights_of_labels(label: tf.Tensor, table: Mapping[Any, Any]) -> tf.Tensor:
    """Of each label: that of its class where the example has it, else 1."""
    weights = [table.get(number, 1.0) for number in range(label.shape[-1])]
    own = tf.constant(weights, keras.config.floatx())
    return tf.where(tf.cast(label, tf.float32) > 0.5, own, tf.ones_like(own))


def _weight_of(label: tf.Tensor, table: Mapping[Any, Any]) -> tf.Tensor:
    classes = _class_of(label)
    dtype = keras.config.floatx()  # as Keras weighs
    if not table:
        return tf.ones(tf.shape(classes), dtype)
    # Found by searching, because a class may be any number: -1 or 255 for what is void.
    numbers = tf.constant(sorted(table), tf.int64)
    weights = tf.constant([table[number] for number in sorted(table)], dtype)
    flat = tf.reshape(classes, [-1])
    place = tf.minimum(tf.searchsorted(numbers, flat), len(table) - 1)
    is_named = tf.equal(tf.gather(numbers, place), flat)
    found = tf.where(is_named, tf.gather(weights, place), tf.ones([], dtype))
    return tf.reshape(found, classes.shape)


def _class_of(label: tf.Tensor) -> tf.Tensor:
    """The class that a label of static shape stands for: int64, without the last axis if any."""
    if label.shape.rank:
        if label.shape[-1] != 1:
            return tf.argmax(label, axis=-1)
        label = tf.squeeze(label, axis=-1)
    return tf.cast(tf.round(label) if label.dtype.is_floating else label, tf.int64)


def _is_by_output(table: Mapping[Any, Any]) -> bool:
    return any(isinstance(value, Mapping) for value in table.values())


def _described(labels: Structure) -> str:
    shapes = tf.nest.map_structure(
        lambda leaf: f"{leaf.dtype.name}{tuple(leaf.shape)}",
        tf.nest.map_structure(tf.convert_to_tensor, labels),
    )
    return str(shapes).replace("'", "")


def _shown(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else text[:80] + "..."
