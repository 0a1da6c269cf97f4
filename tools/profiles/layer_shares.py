"""A step's time shared out over layers, by what each takes alone: arithmetic without TensorFlow.

- A layer without weights has nothing to send; its time goes to the layer before it, or to the
  first one where there is none before it.
- A layer without a time of its own gets a share by its number of weights, at the rate of those
  that have one; where no layer takes any time, all are shared out by weights.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tools.profiles.profile import LayerProfile


@dataclass(frozen=True)
class Times:
    """Seconds of one pass.

    Args:
        forward: from the inputs to the outputs.
        backward: from there to the gradients of all weights.
    """

    forward: float
    backward: float


@dataclass(frozen=True)
class Part:
    """A layer as far as the profile has to do with it.

    Args:
        name: of the layer.
        shapes: of the weights that are its own and get gradients; none for a layer without.
        times: of the layer by itself, or None where it can't be run so.
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]
    times: Times | None

    @property
    def num_weights(self) -> int:
        """Of all tensors together."""
        return sum(math.prod(shape) for shape in self.shapes)


def shared_out(whole: Times, parts: Sequence[Part]) -> tuple[LayerProfile, ...]:
    """Shares a step's times over the layers with weights.

    Args:
        whole: of the step.
        parts: in forward order, at least one of them with weights.
    """
    owners = [part for part in parts if part.shapes]
    forward = _shares(parts, [part.times.forward if part.times else None for part in parts])
    backward = _shares(parts, [part.times.backward if part.times else None for part in parts])
    return tuple(
        LayerProfile(
            name, part.shapes, 1000 * whole.forward * ahead, 1000 * whole.backward * behind
        )
        for name, part, ahead, behind in zip(
            _unique(part.name for part in owners), owners, forward, backward, strict=True
        )
    )


def _shares(parts: Sequence[Part], seconds: Sequence[float | None]) -> list[float]:
    """Shares that add up to 1, one for each part with weights."""
    measured = [
        (part.num_weights, own)
        for part, own in zip(parts, seconds, strict=True)
        if part.shapes and own is not None
    ]
    total = sum(own for _, own in measured)
    rate = total / sum(weights for weights, _ in measured) if total > 0 else 1.0
    shares: list[float] = []
    waiting = 0.0
    for part, own in zip(parts, seconds, strict=True):
        if part.shapes:
            by_weights = own is None or total == 0
            shares.append(waiting + (part.num_weights * rate if by_weights else own or 0.0))
            waiting = 0.0
        elif shares and total > 0:
            shares[-1] += own or 0.0
        elif total > 0:
            waiting += own or 0.0
    whole = sum(shares)
    return [share / whole for share in shares]


def _unique(names: Iterable[str]) -> list[str]:
    """Names in which a repeated one has a number: layers of different models may share theirs."""
    unique: list[str] = []
    for name in names:
        number, candidate = 1, name
        while candidate in unique:
            number += 1
            candidate = f"{name}_{number}"
        unique.append(candidate)
    return unique
