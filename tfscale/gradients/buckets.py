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

    Backward hides all buckets but the last one. So towards the end they become smaller: each takes
    at most half of what is left, down to the size that waits as long as it travels. Where S
    elements are best cut into buckets of L = sqrt(S a B), because each costs a latency a and B
    elements travel in a second, that size is a B = L^2 / S. What is smaller than that lets larger
    tensors pass and goes with the next small ones.

    Args:
        sizes: elements of each tensor, in forward order.
        limit: elements of a bucket; a larger tensor is split evenly into buckets of its own.

    Returns:
        The pieces of each bucket, in the order in which the buckets are ready.
    """
    buckets: list[tuple[Piece, ...]] = []
    current: list[Piece] = []
    filled, room, left = 0, 0, sum(sizes)
    least = max(1, limit * limit // max(left, 1))
    for tensor in reversed(range(len(sizes))):
        size = sizes[tensor]
        if filled + size > room and filled >= least:
            buckets.append(tuple(current))
            current, filled = [], 0
        if not current:
            room = min(limit, max(least, left // 2))
        if filled + size > room:
            parts = -(-size // limit)
            edges = [part * size // parts for part in range(parts + 1)]
            buckets += [(Piece(tensor, a, b),) for a, b in zip(edges, edges[1:], strict=False)]
        else:
            current.append(Piece(tensor, 0, size))
            filled += size
        left -= size
    if current:
        buckets.append(tuple(current))
    return sorted(buckets, key=lambda bucket: -bucket[-1].tensor)
