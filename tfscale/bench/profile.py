"""How long the layers of a model take and how large they are: all that scaling depends on."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfscale.config import ConfigError

SHIPPED = Path(__file__).parent / "profiles"


@dataclass(frozen=True)
class LayerProfile:
    """One layer.

    Args:
        name: of the layer.
        shapes: of its weights.
        forward_ms: milliseconds.
        backward_ms: milliseconds.
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]
    forward_ms: float
    backward_ms: float


@dataclass(frozen=True)
class Profile:
    """A model as its devices see it.

    Args:
        name: of the profile.
        examples_per_step: of one replica.
        layers: in forward order.
        source: where the times come from.
    """

    name: str
    examples_per_step: int
    layers: tuple[LayerProfile, ...]
    source: str = ""

    @property
    def num_weights(self) -> int:
        """Weights of all layers."""
        return sum(math.prod(shape) for layer in self.layers for shape in layer.shapes)

    @property
    def compute_seconds(self) -> float:
        """Forward and backward of all layers."""
        return sum(layer.forward_ms + layer.backward_ms for layer in self.layers) / 1000

    def scaled(self, factor: float) -> "Profile":
        """The same layers on a device that takes `factor` times as long."""
        layers = tuple(
            LayerProfile(
                layer.name, layer.shapes, layer.forward_ms * factor, layer.backward_ms * factor
            )
            for layer in self.layers
        )
        return Profile(f"{self.name}*{factor:g}", self.examples_per_step, layers, self.source)


def load_profile(name_or_path: str) -> Profile:
    """Reads a shipped profile by its name or any by its path.

    Raises:
        ConfigError: there is none, or it isn't a profile.
    """
    path = Path(name_or_path)
    if path.suffix != ".json":
        path = SHIPPED / f"{name_or_path}.json"
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.json")))
        raise ConfigError(
            f"--profile={name_or_path} is not there; expected one of {shipped}, or a JSON file."
        )
    try:
        return _profile(json.loads(path.read_text()))
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"--profile={name_or_path} is no profile ({type(error).__name__}: {error}); expected "
            '{"name", "examples_per_step", "layers": [{"name", "shape", "forward_ms", '
            '"backward_ms"}, ...]}.'
        ) from error


def _profile(content: Mapping[str, Any]) -> Profile:
    layers = []
    for entry in content["layers"]:
        shapes = entry["tensors"] if "tensors" in entry else [entry["shape"]]
        layer = LayerProfile(
            str(entry["name"]),
            tuple(tuple(int(size) for size in shape) for shape in shapes),
            float(entry["forward_ms"]),
            float(entry["backward_ms"]),
        )
        if min(layer.forward_ms, layer.backward_ms) < 0:
            raise ValueError(f"layer {layer.name} takes less than no time")
        layers.append(layer)
    if not layers:
        raise ValueError("it has no layers")
    examples = int(content["examples_per_step"])
    return Profile(str(content["name"]), examples, tuple(layers), str(content.get("source", "")))
