"""Examples whose x is the same: within a split, and between two of them."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from tfscale.data.inspect.figures import Array, named_leaves
from tfscale.structures import Structure


@dataclass
class Seen:
    """The x of a split, by what they hash to.

    Args:
        first: number of the first example with such an x.
        num_repeated: how many examples have the x of an earlier one.
        an_example: two numbers of the same x, or None.
    """

    first: dict[bytes, int] = field(default_factory=dict)
    num_repeated: int = 0
    an_example: tuple[int, int] | None = None

    def add(self, x: Structure, number: int) -> None:
        """Takes the next example.

        Args:
            x: of NumPy arrays.
            number: of the example in its split.
        """
        earlier = self.first.setdefault(_hash_of(x), number)
        if earlier != number:
            self.num_repeated += 1
            self.an_example = self.an_example or (earlier, number)

    def shared_with(self, other: "Seen") -> list[tuple[int, int]]:
        """The numbers here and there of each x that both have."""
        return [(self.first[x], other.first[x]) for x in self.first if x in other.first]


def _hash_of(x: Structure) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for name, leaf in named_leaves((x,)).items():
        digest.update(f"{name} {leaf.dtype} {leaf.shape} ".encode())
        digest.update(_bytes_of(leaf))
    return digest.digest()


def _bytes_of(leaf: Array) -> bytes:
    if leaf.dtype.kind in "OSU":  # texts are objects, whose own bytes are addresses
        return repr(leaf.tolist()).encode()
    return np.ascontiguousarray(leaf).tobytes()
