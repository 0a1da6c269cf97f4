"""The numbers of each tensor of the examples: shape, dtype, range, mean, and what isn't finite."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tfscale.structures import Structure

Array = NDArray[np.generic]

_PARTS = ("x", "y", "sample_weight")


def named_leaves(example: Structure) -> dict[str, Array]:
    """The tensors of `(x, y)` or `(x, y, sample_weight)` by names such as `y['boxes']`.

    Args:
        example: of NumPy arrays.
    """
    found: dict[str, Array] = {}
    for name, part in zip(_PARTS, example, strict=False):
        found.update(_leaves(name, part))
    return found


def _leaves(name: str, part: Structure) -> Iterator[tuple[str, Array]]:
    if isinstance(part, dict):
        for key, value in part.items():
            yield from _leaves(f"{name}[{key!r}]", value)
    elif isinstance(part, tuple | list):
        for number, value in enumerate(part):
            yield from _leaves(f"{name}[{number}]", value)
    else:
        yield name, np.asarray(part)


@dataclass
class Figures:
    """Of all values that one tensor had; `add` takes those of the next example.

    Args:
        shape: of one example's.
        dtype: as TensorFlow calls it; "string" has no further figures.
        low: the least finite value; infinite before there is one.
        high: the largest one.
        num_finite: how many were finite.
        total: their sum.
        num_nan: how many were no number.
        num_infinite: how many were infinite.
    """

    shape: tuple[int, ...]
    dtype: str
    low: float = np.inf
    high: float = -np.inf
    num_finite: int = 0
    total: float = 0.0
    num_nan: int = 0
    num_infinite: int = 0

    @staticmethod
    def like(values: Array) -> "Figures":
        """Of no value yet, for such a tensor."""
        return Figures(values.shape, "string" if values.dtype.kind in "OSU" else values.dtype.name)

    @property
    def is_numeric(self) -> bool:
        """Whether there are figures of its values."""
        return self.dtype != "string" and not self.dtype.startswith("complex")

    @property
    def is_float(self) -> bool:
        """Whether it can have what isn't finite."""
        return "float" in self.dtype

    @property
    def mean(self) -> float:
        """Of the finite values; NaN where there is none."""
        return self.total / self.num_finite if self.num_finite else np.nan

    def add(self, values: Array) -> None:
        """Counts the values of another example."""
        if not self.is_numeric or not values.size:
            return
        numbers = values.astype(np.float64)
        is_finite = np.isfinite(numbers)
        if not is_finite.all():
            self.num_nan += int(np.isnan(numbers).sum())
            self.num_infinite += int(np.isinf(numbers).sum())
            numbers = numbers[is_finite]
        if numbers.size:
            self.low = min(self.low, float(numbers.min()))
            self.high = max(self.high, float(numbers.max()))
            self.num_finite += numbers.size
            self.total += float(numbers.sum())

    def described(self) -> str:
        """Shape, dtype and figures in a line."""
        text = f"{self.dtype} {self.shape}"
        if not self.is_numeric:
            return text
        if self.num_finite:
            text += f", {self.low:.6g} to {self.high:.6g}, mean {self.mean:.4g}"
        if self.is_float:
            text += f", {self.num_nan} NaN, {self.num_infinite} infinite"
        return text
