"""How much of a model can be saved, found out before the first step and not after the last one.

Its configuration is made into text as saving does it; the weights are left out, so that this takes
a fraction of a second.
"""

import json
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras

from tfscale.errors import ConfigError, one_line
from tfscale.fit.keras.layers import layers_within
from tfscale.fit.keras.saving import saves_model
from tfscale.structures import Foreign, Json

WHOLE, UNCOMPILED, WEIGHTS = "whole", "uncompiled", "weights"
FILES = {WHOLE: "model.keras", UNCOMPILED: "model.keras", WEIGHTS: "model.weights.h5"}
_WANTED = "add get_config() and from_config() to it"


@dataclass(frozen=True)
class SavingWay:
    """What of a model gets into which file.

    Args:
        kind: WHOLE; UNCOMPILED leaves optimizer, loss and metrics out; WEIGHTS only.
        reason: why not all of it, naming what lacks what; empty for WHOLE.
        stops_keras: whether `model.save` would raise.
    """

    kind: str
    reason: str = ""
    stops_keras: bool = False

    @property
    def file(self) -> str:
        """Its name in the run directory."""
        return FILES[self.kind]

    def rows(self) -> dict[str, object]:
        """For the plan: nothing where all is saved."""
        told = {
            WHOLE: "",
            UNCOMPILED: f"model.keras without optimizer, loss and metrics: {self.reason}",
            WEIGHTS: f"model.weights.h5 only; model.keras can't be written: {self.reason}",
        }[self.kind]
        return {"model file": told} if told else {}


def find_saving_way(model: keras.Model) -> SavingWay:
    """Tries what `model.save` is going to do with the configuration of a built model."""
    try:
        content = configuration(model)
    except Exception as error:
        return _without_compilation(model, error)
    if _names_this_library(content.get("compile_config")):
        # It would not load where this library isn't installed.
        kind = type(getattr(model.optimizer, "inner_optimizer", model.optimizer)).__name__
        return SavingWay(UNCOMPILED, f"plain Keras doesn't know {kind}")
    return SavingWay(WHOLE)


def configuration(model: keras.Model) -> dict[str, Json]:
    """What `model.keras` says about the model beside its weights.

    Raises:
        Exception: whatever a part that can't be described raises.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a lambda, that it is unsafe to load
        content: dict[str, Json] = keras.saving.serialize_keras_object(model)
    json.dumps(content)
    return content


def require_savable(
    callbacks: Sequence[keras.callbacks.Callback], way: SavingWay, name: str
) -> None:
    """Refuses callbacks that save a whole model which can't be saved.

    Keras would raise at the first save, after an epoch.

    Args:
        callbacks: the user's.
        way: what `find_saving_way` has found.
        name: how to name the model file.

    Raises:
        ConfigError: one of Keras's, or one that saves as Keras's do, is among them.
    """
    saving = [type(one).__name__ for one in callbacks if saves_model(one)]
    if saving and way.stops_keras:
        raise ConfigError(
            f"{name}: callbacks() has {saving[0]}, which saves the whole model, but that can't be "
            f"saved: {way.reason}. Expected one that can; or save its weights alone, with "
            "save_weights_only=True and a path that ends in .weights.h5."
        )


def leave_out_compilation(model: keras.Model) -> None:
    """From now on optimizer, loss and metrics stay out of what is saved of this one model."""
    model.get_compile_config = lambda: None


def _without_compilation(model: keras.Model, error: Exception) -> SavingWay:
    own = vars(model).get("get_compile_config")
    leave_out_compilation(model)
    try:
        configuration(model)
    except Exception as inner:
        return SavingWay(WEIGHTS, _culprit(model, inner), stops_keras=True)
    finally:
        if own is None:
            del model.get_compile_config
        else:
            model.get_compile_config = own
    for what, part in _compiled_parts(model):
        failure = _failure(part)
        if failure is not None:
            return SavingWay(UNCOMPILED, _told(f"the {what}", part, failure), stops_keras=True)
    return SavingWay(UNCOMPILED, one_line(error), stops_keras=True)


def _culprit(model: keras.Model, error: Exception) -> str:
    """The innermost layer that can't be described; the model itself where every layer can."""
    # A layer comes before those that it consists of.
    for layer in reversed(layers_within(model)):
        failure = _failure(layer)
        if failure is not None:
            return _told(f"layer {layer.name!r}", layer, failure)
    return _told("the model", model, error)


def _compiled_parts(model: keras.Model) -> Iterator[tuple[str, Foreign]]:
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    yield "optimizer or its schedule", optimizer
    losses = keras.tree.flatten(model.loss)
    yield from (("loss", loss) for loss in losses)
    metrics = [one for metric in model.metrics for one in getattr(metric, "metrics", [metric])]
    yield from (("metric", metric) for metric in metrics)


def _failure(part: Foreign) -> Exception | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            json.dumps(keras.saving.serialize_keras_object(part))
    except Exception as error:
        return error
    return None


def _told(what: str, part: Foreign, error: Exception) -> str:
    kind, text = type(part).__name__, str(error)
    if isinstance(error, NotImplementedError):
        return f"{what} ({kind}) has no get_config of its own; {_WANTED}"
    inner = re.search(r"Cannot serialize object .* of type <class '([^']+)'>", text, re.DOTALL)
    if inner:
        held = inner[1].rpartition(".")[2]
        holds = f"holds {held}, which " if held != kind else ""
        return f"{what} ({kind}) {holds}has no get_config"
    return f"{what} ({kind}) can't be described ({one_line(error)}); {_WANTED}"


def _names_this_library(content: Json) -> bool:
    return '"module": "tfscale.' in json.dumps(content)
