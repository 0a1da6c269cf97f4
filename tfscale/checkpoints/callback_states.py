"""What callbacks and listeners keep between batches or epochs: best value, patience, losses.

Keras has no way to ask a callback for its state. What it keeps are its attributes: those that have
changed since it was made are kept as far as JSON and arrays can hold them, and are put back when
Keras has told the callback that training begins. What can't be held is named. A callback that knows
better has `get_state`, which gives a dict of what can be held, and `set_state`, which takes it.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from tfscale.fit.keras.monitor_direction import decide, has_decided
from tfscale.listener import Listener
from tfscale.structures import Foreign, Json

# What Keras gives to a callback, and what its own callbacks make anew when training begins.
_REMADE = frozenset(
    (
        *("_model", "params", "validation_data", "csv_file", "writer", "append", "append_header"),
        *(
            "monitor_op",
            "_writers",
            "_train_dir",
            "_val_dir",
            "_prev_summary_state",
            "_supports_tf_logs",
        ),
    )
)
_MANY: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "deque": deque,
}


class CallbackStates:
    """Reads and writes what callbacks keep.

    Args:
        callbacks: as they were made, before training begins.
    """

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback | Listener]) -> None:
        """Remembers what they were made with: a resumed run makes them with that too."""
        self._callbacks = list(callbacks)
        self._made = [_read(one, "") for one in callbacks]
        self._begun = self._made

    def begin(self) -> None:
        """Looks at what they have changed as training began, which they will change again."""
        self._begun = [_read(one, "") for one in self._callbacks]

    def read(self) -> tuple[list[Json], dict[str, np.ndarray]]:
        """What has changed in each callback.

        Returns:
            A class and attributes for each callback, in which arrays stand by their names; and
            the arrays.
        """
        said: list[Json] = []
        arrays: dict[str, np.ndarray] = {}
        looks = zip(self._callbacks, self._made, self._begun, strict=True)
        for number, (callback, made, begun) in enumerate(looks):
            now = _read(callback, f"callback/{number}")
            changed = {
                name: value
                for name, value in now.attributes.items()
                if hasattr(callback, "get_state")
                or now.arrays_of(value)
                or made.differs(name, value)
                or made.differs(name, begun.attributes.get(name, _Missing))
            }
            kind = type(callback).__qualname__
            said.append(
                {"class": kind, "attributes": changed, "has_decided": has_decided(callback)}
            )
            arrays |= now.arrays
        return said, arrays

    def left_out(self) -> list[str]:
        """What callbacks keep that can't be held, `Class.attribute`: it starts over."""
        found = []
        for callback, made in zip(self._callbacks, self._made, strict=True):
            now = _read(callback, "")
            kind = type(callback).__qualname__
            found += [
                f"{kind}.{name}"
                for name, value in now.unheld.items()
                if made.unheld.get(name) is not value
            ]
        return found

    def write(self, said: Sequence[Json], arrays: Mapping[str, np.ndarray]) -> list[str]:
        """Puts back what `read` gave.

        Returns:
            The classes of callbacks that are others than those then; they start over.
        """
        anew = []
        for number, callback in enumerate(self._callbacks):
            state = said[number] if number < len(said) else {}
            if state.get("class") != type(callback).__qualname__:
                anew.append(type(callback).__qualname__)
                continue
            if state["has_decided"]:
                decide(callback)
            values = {name: _value(one, arrays) for name, one in state["attributes"].items()}
            if hasattr(callback, "set_state"):
                callback.set_state(values)
            else:
                vars(callback).update(values)
        return anew


class _Missing:
    """Stands for an attribute that wasn't there."""


@dataclass
class _Reading:
    """A callback's attributes.

    Args:
        prefix: of the names of its arrays.
    """

    prefix: str
    attributes: dict[str, Json] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    unheld: dict[str, object] = field(default_factory=dict)

    def held(self, value: Foreign, name: str) -> Json:
        """A value in the words of JSON.

        Raises:
            TypeError: it has none.
        """
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf":
            self.arrays[f"{self.prefix}/{name}"] = np.array(value)
            return {"array": f"{self.prefix}/{name}", "scalar": isinstance(value, np.generic)}
        kind = type(value).__name__
        if type(value) is _MANY.get(kind):
            items = sorted(value) if kind == "set" else value
            many = [self.held(item, f"{name}/{place}") for place, item in enumerate(items)]
            return {"many": many, "kind": kind}
        if type(value) is dict and all(isinstance(key, str | int) for key in value):
            pairs = [[key, self.held(item, f"{name}/{key}")] for key, item in value.items()]
            return {"pairs": pairs}
        raise TypeError(f"{type(value).__name__} can't be held")

    def differs(self, name: str, value: Json) -> bool:
        """Whether an attribute has another value than this one."""
        return bool(self.attributes.get(name, _Missing) != value)

    def arrays_of(self, value: Json) -> bool:
        """Whether there is an array in it, whose changes its words don't show."""
        if isinstance(value, dict):
            return "array" in value or any(map(self.arrays_of, value.values()))
        return isinstance(value, list) and any(map(self.arrays_of, value))


def _read(callback: keras.callbacks.Callback | Listener, prefix: str) -> _Reading:
    reading = _Reading(prefix)
    get_state = getattr(callback, "get_state", None)
    for name, value in (vars(callback) if get_state is None else get_state()).items():
        if name in _REMADE:
            continue
        before = set(reading.arrays)
        try:
            reading.attributes[name] = reading.held(value, name)
        except TypeError:
            reading.unheld[name] = value
            for array in set(reading.arrays) - before:
                del reading.arrays[array]
    return reading


def _value(said: Json, arrays: Mapping[str, np.ndarray]) -> Foreign:
    if isinstance(said, dict):
        if "array" in said:
            array = np.array(arrays[said["array"]])
            return array[()] if said["scalar"] else array
        if "pairs" in said:
            return {key: _value(item, arrays) for key, item in said["pairs"]}
        return _MANY[said["kind"]]([_value(item, arrays) for item in said["many"]])
    return said
