"""What Keras's layers consist of and which of them are called."""

import contextlib
import functools
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from tfscale.fit.keras.classes import is_kerass
from tfscale.model.model_facts import RANDOM_STATE
from tfscale.structures import Foreign, Structure


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer, with the arguments that its `call` got."""

    layer: keras.layers.Layer
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def layers_within(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers that a layer consists of, at every depth, each once; `Model.layers` is flat."""
    within = layer._flatten_layers(include_self=False)
    return list({id(one): one for one in within}.values())


def tables_of(model: keras.Model) -> list[str]:
    """Of the layers that look values up, checksums of what they have learned or were given.

    It is no variable, and not in the configuration of a layer that was adapted.
    """
    told = []
    for layer in model._flatten_layers():
        table: Foreign = getattr(layer, "bin_boundaries", None)
        if hasattr(layer, "get_vocabulary"):
            table = layer.get_vocabulary()
        if table is not None:
            words = [str(word) for word in table]
            digest = zlib.crc32("\0".join(words).encode())
            told.append(f"{type(layer).__name__} {len(words)} entries {digest:08x}")
    return told


def synchronized_layer(model: keras.Model) -> keras.layers.Layer | None:
    """The first layer, at any depth, that reduces over replicas by itself; None without one."""
    layers = model._flatten_layers()
    return next((layer for layer in layers if getattr(layer, "synchronized", False)), None)


def own_variables(model: keras.Model) -> list[keras.Variable]:
    """What layers that aren't of a class of Keras's keep without training it."""
    return [
        variable
        for layer in model._flatten_layers()
        if not is_kerass(type(layer))
        for variable in layer._non_trainable_variables
        if variable.name != RANDOM_STATE
    ]


@contextlib.contextmanager
def calls_recorded(layers: Sequence[keras.layers.Layer]) -> Iterator[list[LayerCall]]:
    """Writes down the calls of these layers in the body, in the order in which they start.

    Keras looks `call` up on the layer, also where one layer calls another without `__call__`.
    """
    calls: list[LayerCall] = []

    def recorded(
        layer: keras.layers.Layer, original: Callable[..., Any], *args: Foreign, **kwargs: Foreign
    ) -> Structure:
        calls.append(LayerCall(layer, args, kwargs))
        return original(*args, **kwargs)

    with _calls_through(layers, recorded):
        yield calls


@contextlib.contextmanager
def outputs_recorded(
    layers: Sequence[keras.layers.Layer],
) -> Iterator[list[tuple[keras.layers.Layer, list[Foreign]]]]:
    """Writes down what these layers give in the body, in the order in which they are done."""
    outputs: list[tuple[keras.layers.Layer, list[Foreign]]] = []

    def recorded(
        layer: keras.layers.Layer, original: Callable[..., Any], *args: Foreign, **kwargs: Foreign
    ) -> Structure:
        given = original(*args, **kwargs)
        outputs.append((layer, list(keras.tree.flatten(given))))
        return given

    with _calls_through(layers, recorded):
        yield outputs


@contextlib.contextmanager
def _calls_through(
    layers: Sequence[keras.layers.Layer], instead: Callable[..., Structure]
) -> Iterator[None]:
    """In the body each call of these layers is one of `instead(layer, call, *args, **kwargs)`."""
    replaced = [vars(layer).get("call") for layer in layers]
    for layer in layers:
        bound = functools.partial(instead, layer, layer.call)
        layer.call = functools.wraps(layer.call)(bound)
    try:
        yield
    finally:
        for layer, call in zip(layers, replaced, strict=True):
            if call is None:
                del layer.call
            else:
                layer.call = call
