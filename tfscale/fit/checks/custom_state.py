"""What somebody's own layers keep in variables: whether the mean over replicas is what it would be.

Workers average what a training step assigns. For the statistics of a batch that is right, or near.
A count of examples would come out as a part of the count, and a queue of examples as a mixture;
both are found out on real examples.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.fit.keras.trial_step import halves_and_whole, refused_if_it_fails, try_step
from tfscale.structures import Structure

_TOLERANCE = 1e-4
_ANY_NUMBER = "a step for any number of examples. Let it take batches of any size."


def averaged(
    model: keras.Model, first: Structure, own: Sequence[keras.Variable], *, replicas: int
) -> list[str]:
    """Paths of the variables whose mean over replicas is only near what one replica would have.

    Args:
        model: built, in the scope of the strategy that this is called in.
        first: a few real examples, stacked; the same on every worker.
        own: variables that a training step assigns.
        replicas: of the job; with one there is nothing to average.

    Raises:
        ConfigError: a mean over replicas would be wrong.
    """
    batches = halves_and_whole(first)
    if replicas == 1 or not own or not batches:
        return []
    paths = ", ".join(variable.path for variable in own)
    half = tf.nest.flatten(batches[0])[0].shape[0]
    what = f"The training step assigns {paths}, and trying it on {half} examples"
    with refused_if_it_fails(what, _ANY_NUMBER):
        *parts, whole = [_after(model, batch, own) for batch in batches]
    near = []
    for number, variable in enumerate(own):
        before = keras.ops.convert_to_numpy(variable).astype("float64")
        kind = _kind(before, [part[number] for part in parts], whole[number])
        is_float = tf.as_dtype(variable.dtype).is_floating
        if kind == "sum" or (kind == "other" and not is_float):
            what = "a sum over examples" if kind == "sum" else "not the same for each replica"
            raise ConfigError(
                f"The training step assigns {variable.path}, which is {what}; expected a mean over "
                f"the examples of a batch, because {replicas} replicas each see a part of it, and "
                "what they keep is averaged. Keep sums in a keras.metrics.Metric, and examples out "
                "of variables."
            )
        if kind == "other":
            near.append(variable.path)
    return near


def _after(model: keras.Model, batch: Structure, own: Sequence[keras.Variable]) -> list[np.ndarray]:
    """The variables after a training step on a batch."""
    values = try_step(model.train_step, [batch], [], variables=own).values
    return [values[id(variable)] for variable in own]


def _kind(before: np.ndarray, parts: Sequence[np.ndarray], whole: np.ndarray) -> str:
    """How the whole batch's value follows from those of its parts: "mean", "sum" or "other"."""
    if _are_close(np.mean(parts, axis=0), whole):
        return "mean"
    return "sum" if _are_close(np.sum(parts, axis=0) - before, whole) else "other"


def _are_close(found: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.allclose(found, expected, rtol=_TOLERANCE, atol=_TOLERANCE))
