"""What a saved model needs beside Keras: which classes and functions, and where they are."""

import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType

import keras

from tfscale.startup.source_hashes import own_modules
from tfscale.structures import Json

# Keras imports these by itself.
_KNOWN = ("keras", "keras_hub", "keras_cv", "keras_nlp", "builtins")
_FUNCTIONS = (
    *("activations", "constraints", "initializers", "losses", "metrics"),
    *("optimizers", "regularizers"),
)


@dataclass(frozen=True)
class Needed:
    """Names in a model's configuration that Keras alone can't resolve.

    Args:
        names: Keras's name of each; of a class its module too.
        in_layers: whether one of them is needed for more than compiling.
        has_lambda: whether code is stored in the file, which Keras runs only if it is told to.
    """

    names: Mapping[str, str]
    in_layers: bool
    has_lambda: bool

    @property
    def is_plain(self) -> bool:
        """Whether Keras loads it without help."""
        return not self.names and not self.has_lambda


def needed_by(content: Mapping[str, Json], own: ModuleType | None) -> Needed:
    """Reads the configuration of a `.keras` file.

    Args:
        content: of its `config.json`.
        own: the model file as a module. Keras stores a function by its bare name, so that one of
            Keras's would silently take the place of the user's that has the same.
    """
    layers = {name: part for name, part in content.items() if name != "compile_config"}
    nodes = list(_nodes(layers))
    every = [*nodes, *_nodes(content.get("compile_config"))]
    names = {key: module for node in every for key, module in _own(node, own)}
    return Needed(
        names,
        in_layers=any(True for node in nodes for _ in _own(node, own)),
        has_lambda=any(node["class_name"] == "__lambda__" for node in every),
    )


def places_of(needed: Needed, own: ModuleType | None) -> dict[str, str] | None:
    """Where each needed name is, as "own.NAME" of the model file or "MODULE.NAME".

    Args:
        needed: what a file needs.
        own: the model file as a module, if there is one.

    Returns:
        None where one of them is nowhere to be imported from: a class that a function defines, or
        one of the program that was started.
    """
    found: dict[str, str] = {}
    for key, module in needed.names.items():
        registered = keras.saving.get_registered_object(key)
        name = getattr(registered, "__name__", key.rpartition(">")[2])
        place = _place(name, module, own, registered)
        if place is None:
            return None
        found[key] = place
    return found


def _nodes(part: Json) -> Iterator[dict[str, Json]]:
    """Everything in a configuration that stands for an object."""
    if isinstance(part, dict):
        if "class_name" in part and "config" in part:
            yield part
        for value in part.values():
            yield from _nodes(value)
    elif isinstance(part, list):
        for value in part:
            yield from _nodes(value)


def _own(node: dict[str, Json], own: ModuleType | None) -> Iterator[tuple[str, str]]:
    kind, module = node["class_name"], node.get("module") or ""
    if kind == "function":
        name = str(node["config"])
        is_keras = any(hasattr(getattr(keras, each), name) for each in _FUNCTIONS)
        mine = vars(own).get(name) if own else None
        if not is_keras or (own and getattr(mine, "__module__", None) == own.__name__):
            yield name, ""
    elif not kind.startswith("__") and "registered_name" in node:
        if module.partition(".")[0] not in _KNOWN:
            yield node["registered_name"] or kind, module


def _place(name: str, module: str, own: ModuleType | None, registered: object) -> str | None:
    if own is not None and _is_there(vars(own).get(name), own, module, registered):
        return f"own.{name}"
    for dotted in own_modules():
        candidate = sys.modules[dotted]
        if _is_there(vars(candidate).get(name), candidate, module, registered):
            return f"{dotted}.{name}"
    if module and module in sys.modules and module != "__main__":
        if own is None or module != own.__name__:
            # Of an installed package.
            return f"{module}.{name}" if hasattr(sys.modules[module], name) else None
    return None


def _is_there(value: object, where: ModuleType, module: str, registered: object) -> bool:
    if not (inspect.isclass(value) or callable(value)):
        return False
    if registered is not None:
        return value is registered
    return not module or getattr(value, "__module__", None) == module
