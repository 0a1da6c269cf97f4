"""How large the variables of a model are."""

import math
from collections.abc import Iterable

import keras


def weights_bytes(variables: Iterable[keras.Variable]) -> int:
    """Bytes of all elements of Keras variables, in their own dtypes."""
    return sum(math.prod(variable.shape) * variable.value.dtype.size for variable in variables)
