"""Which gradients travel together: plain arithmetic on their sizes."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Piece:
    """A part of a flattened tensor.

    Args:
        tensor: position of the tensor.
        start: first element.
        stop: one past the last element.
    """

    tensor: int
    start: int
    stop: int


def plan(sizes: Sequence[int], limit: int) -> list[tuple[Piece, ...]]:
    """Puts tensors into buckets, the last tensor first: that is the order in which they are ready.

    Args:
        sizes: elements of each tensor, in forward order.
        limit: elements of a bucket; a larger tensor is split evenly into buckets of its own.

    Returns:
        The pieces of each bucket, in the order in which the buckets leave.
    """
    buckets: list[tuple[Piece, ...]] = []
    current: list[Piece] = []
    room = limit
    for tensor in reversed(range(len(sizes))):
        size = sizes[tensor]
        if current and size > room:
            buckets.append(tuple(current))
            current, room = [], limit
        if size > limit:
            parts = -(-size // limit)
            edges = [part * size // parts for part in range(parts + 1)]
            buckets += [(Piece(tensor, a, b),) for a, b in zip(edges, edges[1:], strict=False)]
        else:
            current.append(Piece(tensor, 0, size))
            room -= size
    if current:
        buckets.append(tuple(current))
    return buckets
