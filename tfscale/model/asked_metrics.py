"""The `metrics` that a dataset or a model file asks for, of a model that comes uncompiled.

Those that a file made while it ran were made outside of every strategy, so that each is made anew
where the replicas are. Some compare probabilities with thresholds: of logits they would say
something else.
"""

from collections.abc import Sequence
from typing import Any

import keras

from tfscale.errors import ConfigError, one_line
from tfscale.structures import Foreign

Asked = Sequence[Any]  # names, or metrics of Keras's


def read_metrics(given: Foreign, name: str) -> Asked:
    """What a file says of `metrics`: a list, or a function that gives one.

    Args:
        given: as the file has it.
        name: how to name the file in a message.

    Raises:
        ConfigError: it is something else.
    """
    if callable(given):
        try:
            given = given()
        except Exception as error:
            raise ConfigError(f"{name}: metrics() raised {one_line(error)}") from error
    given = given or ()
    known = (str, keras.metrics.Metric)
    if not isinstance(given, list | tuple) or not all(isinstance(one, known) for one in given):
        raise ConfigError(
            f"{name} has metrics = {given!r}; expected a list of names and of Keras metrics, for "
            'example ["accuracy", keras.metrics.AUC()].'
        )
    return tuple(given)


def make_metrics(asked: Asked, *, own: str, are_logits: bool) -> list[keras.metrics.Metric | str]:
    """Makes the metrics, in the strategy's scope that this is called in.

    Args:
        asked: what `read_metrics` gave.
        own: the name of the task's own metric, which is there anyway.
        are_logits: whether the model gives logits.

    Raises:
        ConfigError: one can't be made, or would take logits for probabilities.
    """
    made = [one if isinstance(one, str) else _anew(one, are_logits) for one in asked]
    return [one for one in made if one != own]


def _anew(metric: keras.metrics.Metric, are_logits: bool) -> keras.metrics.Metric:
    try:
        config = metric.get_config()
        if are_logits and "from_logits" in config:
            config["from_logits"] = True
        elif are_logits:
            _require_no_thresholds(metric, config)
        made: keras.metrics.Metric = type(metric).from_config(config)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"The metric {type(metric).__name__} of `metrics` can't be made anew on the replicas: "
            f"{one_line(error)}; expected a get_config with all arguments of its constructor. "
            "Write one, or compile the model in build."
        ) from error
    return made


def _require_no_thresholds(metric: keras.metrics.Metric, config: dict[str, Any]) -> None:
    # Where there are several, None stands for 0.5; a single one of None for the largest.
    names = {"thresholds", "num_thresholds"} & set(config)
    found = sorted(names or ({"threshold"} if config.get("threshold") is not None else set()))
    if found:
        raise ConfigError(
            f"The metric {type(metric).__name__} of `metrics` holds probabilities against its "
            f"{found[0]}, and the model gives logits; expected probabilities. End the model in a "
            "softmax or a sigmoid, or compile it in build."
        )
