"""How a metric's state is put together from those of its parts: found out on real examples.

Keras's own metrics keep sums. Somebody's own may keep a maximum, a minimum, or something that no
rule puts together, a running average say.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.fit.keras.classes import is_kerass
from tfscale.fit.keras.trial_step import refused_if_it_fails, try_step
from tfscale.structures import Structure

_PARTS = 4
_TOLERANCE = 1e-5
_ANY_NUMBER = (
    "an update for any number of examples. Leave them out, or let them take batches of any size."
)


def kinds_of(model: keras.Model, first: Structure, *, replicas: int) -> dict[int, str]:
    """ "max" or "min" for the variables of own metrics that aren't sums, by their ids.

    Args:
        model: built, in the scope of the strategy that this is called in.
        first: a few real examples, stacked; the same on every worker.
        replicas: of the job; with one there is nothing to put together.

    Raises:
        ConfigError: a metric's state can't be put together.
    """
    own = [] if replicas == 1 else own_metrics(model)
    if not own:
        return {}
    parts = _parts_of(first)
    names = ", ".join(metric.name for metric in own)
    what = f"The metrics {names} are the model file's own, and trying them on {len(parts)} batches"
    for step in (model.test_step, model.train_step):
        with refused_if_it_fails(what, _ANY_NUMBER):
            alone = [try_step(step, [part], own).values for part in parts]
            together = try_step(step, parts, own).values
        if any(not np.array_equal(alone[0][key], together[key]) for key in together):
            break
    kinds: dict[int, str] = {}
    for metric in own:
        for variable in metric.variables:
            values = [found[id(variable)] for found in alone]
            kind = _kind(values, together[id(variable)])
            if not kind:
                raise ConfigError(
                    f"The metric {metric.name} keeps {variable.name}, which is neither a sum nor a "
                    "maximum nor a minimum over examples; expected one of them, because "
                    f"{replicas} replicas each see a part of the examples. Keep sums, and divide "
                    "in result()."
                )
            kinds[id(variable)] = kind
    return {key: kind for key, kind in kinds.items() if kind != "sum"}


def own_metrics(model: keras.Model) -> list[keras.metrics.Metric]:
    """The metrics of a model that aren't of a class of Keras's."""
    found: list[keras.metrics.Metric] = []
    for metric in model.metrics:
        within = getattr(metric, "metrics", [])
        found += [one for one in (within or [metric]) if not is_kerass(type(one))]
    return found


def _parts_of(first: Structure) -> list[Structure]:
    size = int(tf.shape(tf.nest.flatten(first)[0])[0])
    edges = [part * size // _PARTS for part in range(_PARTS + 1)]
    return [
        tf.nest.map_structure(lambda leaf, a=a, b=b: leaf[a:b], first)
        for a, b in zip(edges, edges[1:], strict=False)
        if b > a
    ]


def _kind(alone: Sequence[np.ndarray], together: np.ndarray) -> str:
    """How the states of parts make the state of all of them, "" where nothing fits."""
    rules = {"sum": np.add, "max": np.maximum, "min": np.minimum}
    for kind, rule in rules.items():
        if np.allclose(rule.reduce(alone), together, rtol=_TOLERANCE, atol=_TOLERANCE):
            return kind
    return ""
