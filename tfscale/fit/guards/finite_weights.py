"""Whether weights are finite: what isn't is worth neither a checkpoint nor a model."""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from tfscale.fit.state.training_state import WEIGHTS
from tfscale.model.model_facts import local_value
from tfscale.structures import Foreign


class FiniteWeights:
    """Looks for the first weight of a model that isn't finite.

    A layer may have a constant that isn't, a mask of minus infinity say: what no step trains and
    wasn't finite at the beginning is left out.

    Args:
        model: built, before it trains.
        strategy: that holds the weights.
    """

    def __init__(self, model: keras.Model, strategy: tf.distribute.Strategy) -> None:
        """Looks at what isn't trained."""
        self._strategy = strategy
        trained = {id(one) for one in model.trainable_variables}
        self._watched = [
            (number, one)
            for number, one in enumerate(model.weights)
            if tf.as_dtype(one.dtype).is_floating
            and (id(one) in trained or is_finite(local_value(one, strategy)))
        ]

    def first_bad(self) -> str:
        """The path of the first one that isn't finite now, on this worker; "" if all are."""
        for _, one in self._watched:
            if not is_finite(local_value(one, self._strategy)):
                return str(one.path)
        return ""

    def first_bad_of(self, arrays: Mapping[str, np.ndarray]) -> str:
        """The same of arrays that `TrainingState.read` gave."""
        by_number = {int(name.split("/")[1]): name for name in arrays if name.startswith(WEIGHTS)}
        for number, one in self._watched:
            name = by_number.get(number)
            if name is not None and not is_finite(arrays[name]):
                return str(one.path)
        return ""


def is_finite(values: Foreign) -> bool:
    """Whether all of an array or a tensor of floats is."""
    return bool(np.isfinite(np.asarray(values)).all())
