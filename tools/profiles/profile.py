"""How long the layers of a model take and how large they are: all that scaling depends on."""

import json
import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfscale.errors import ConfigError

SHIPPED = Path(__file__).parent


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
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"--profile={name_or_path} is no profile ({type(error).__name__}: {error}); expected "
            '{"name", "examples_per_step", "layers": [{"name", "shape", "forward_ms", '
            '"backward_ms"}, ...]}.'
        ) from error


def require_writable(path: str) -> None:
    """Refuses a file for a profile that couldn't be written or not be read again.

    Args:
        path: of the file; "" for none.

    Raises:
        ConfigError: it isn't named .json, or there is no such folder.
    """
    folder = Path(path).parent
    if path and (Path(path).suffix != ".json" or Path(path).is_dir() or not folder.is_dir()):
        raise ConfigError(
            f"--out={path} can't be written; expected a file named .json in a folder that is "
            f"there. Use for example --out={Path(path).stem or 'model'}.json, or "
            f"mkdir -p {shlex.quote(str(folder))}"
        )


def profile_text(profile: Profile) -> str:
    """The JSON that `load_profile` reads, with one layer a line."""
    layers = ",\n  ".join(_layer_text(layer) for layer in profile.layers)
    return (
        f'{{\n "name": {json.dumps(profile.name)},\n'
        f' "examples_per_step": {profile.examples_per_step},\n'
        f' "source": {json.dumps(profile.source)},\n'
        f' "layers": [\n  {layers}\n ]\n}}\n'
    )


def _layer_text(layer: LayerProfile) -> str:
    shapes = [list(shape) for shape in layer.shapes]
    weights = {"shape": shapes[0]} if len(shapes) == 1 else {"tensors": shapes}
    # Nanoseconds: finer than any clock here.
    times = {
        "forward_ms": round(layer.forward_ms, 6),
        "backward_ms": round(layer.backward_ms, 6),
    }
    return json.dumps({"name": layer.name, **weights, **times})


def _profile(content: Mapping[str, Any]) -> Profile:
    layers: list[LayerProfile] = []
    for entry in content["layers"]:
        shapes = entry["tensors"] if "tensors" in entry else [entry["shape"]]
        layer = LayerProfile(
            str(entry["name"]),
            tuple(tuple(int(size) for size in shape) for shape in shapes),
            float(entry["forward_ms"]),
            float(entry["backward_ms"]),
        )
        for milliseconds in (layer.forward_ms, layer.backward_ms):
            if not 0 <= milliseconds < math.inf:
                raise ValueError(f"layer {layer.name} takes {milliseconds:g} ms")
        if min((size for shape in layer.shapes for size in shape), default=1) < 1:
            raise ValueError(f"layer {layer.name} has a weight of shape {layer.shapes}")
        if layer.name in {other.name for other in layers}:
            raise ValueError(f"two layers have the name {layer.name}")
        layers.append(layer)
    if not layers:
        raise ValueError("it has no layers")
    examples = int(content["examples_per_step"])
    if examples < 1:
        raise ValueError(f"a step of {examples} examples")
    return Profile(str(content["name"]), examples, tuple(layers), str(content.get("source", "")))
