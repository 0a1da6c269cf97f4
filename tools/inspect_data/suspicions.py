"""What looks wrong about a split: a line for each, with what was seen and what may be the cause."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from tfscale.structures import Structure
from tools.inspect_data.figures import Array, Figures, named_leaves

_MOST_NAMED = 10
_IMBALANCE, _ENOUGH = 10, 50  # times as frequent; examples of the most frequent class


def of_figures(figures: Mapping[str, Figures]) -> Iterator[str]:
    """What the figures of each tensor tell.

    Args:
        figures: by the name of the tensor, such as "x" or "y['boxes']".
    """
    for name, one in figures.items():
        if one.num_nan or one.num_infinite:
            yield (
                f"{name} has {one.num_nan} NaN and {one.num_infinite} infinite values: the loss "
                "becomes NaN with the first of them."
            )
        is_constant = one.low == one.high and one.num_finite > 1
        if name.startswith("x") and is_constant:
            yield f"{name} is {one.low:g} everywhere: a model can't tell its examples apart."
        if name.startswith("x") and len(one.shape) == 3 and one.is_float:
            if 2.0 < one.high <= 255.0 and one.low >= 0.0 and one.high > 100.0:
                yield (
                    f"{name} has floats from {one.low:g} to {one.high:g}: pixels that nobody "
                    "scaled? Divide by 255, unless the model scales them."
                )
            elif max(abs(one.low), abs(one.high)) < 0.02:
                yield (
                    f"{name} has floats from {one.low:g} to {one.high:g}: pixels that were scaled "
                    "twice?"
                )
        if name.endswith("['boxes']") and (one.low < -0.01 or one.high > 1.01):
            yield (
                f"{name} goes from {one.low:g} to {one.high:g}; expected (y_min, x_min, y_max, "
                "x_max) in 0 to 1 of the image's sides."
            )
        if name == "sample_weight" and one.num_finite and one.low < 0.0:
            yield f"sample_weight is down to {one.low:g}: such an example is unlearned."


def of_classes(name: str, counts: Counter[int], num_classes: int | None) -> Iterator[str]:
    """What the classes of a tensor tell.

    Args:
        name: of the tensor.
        counts: how often each class came.
        num_classes: of the dataset file, or None.
    """
    if len(counts) == 1 and sum(counts.values()) > 1:
        (only,) = counts
        yield (
            f"{name} is class {only} in every example that was looked at: is the split sorted by "
            "class, or the label lost?"
        )
    outside = sorted(n for n in counts if n < 0 or (num_classes is not None and n >= num_classes))
    if outside:
        number = sum(counts[n] for n in outside)
        allowed = "0 or more" if num_classes is None else f"0 to {num_classes - 1}"
        yield f"{name} has {number} labels where {allowed} was expected: {_listed(outside)}."
    if num_classes is None or len(counts) == 1:
        missing = []
    else:
        missing = [n for n in range(num_classes) if n not in counts]
    if missing:
        yield (
            f"{name} never has {len(missing)} of the {num_classes} classes in what was looked at: "
            f"{_listed(missing)}."
        )
    if len(counts) > 1:
        (most, often), (least, seldom) = counts.most_common()[0], counts.most_common()[-1]
        if often >= _IMBALANCE * seldom and often >= _ENOUGH:
            yield (
                f"{name} has class {most} {often} times and class {least} {seldom} times: a model "
                "may learn to say the one alone. See class_weight."
            )


def of_label_maps(name: str, figures: Figures, num_classes: int | None) -> Iterator[str]:
    """What the range of many labels an example tells, such as those of pixels or of words.

    Args:
        name: of the tensor.
        figures: its.
        num_classes: of the dataset file, or None.
    """
    is_map = name == "y" and figures.shape and figures.dtype.removeprefix("u").startswith("int")
    if is_map and num_classes is not None and (figures.high >= num_classes or figures.low < 0):
        yield (
            f"{name} goes from {figures.low:g} to {figures.high:g} where 0 to {num_classes - 1} "
            "was expected: does the loss leave such labels out?"
        )


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


def of_repeats(split: str, own: Seen, others: Mapping[str, Seen]) -> Iterator[str]:
    """What was seen twice.

    Args:
        split: name of the split that is inspected.
        own: what it has.
        others: what the other splits have, by name.
    """
    if own.an_example:
        first, second = own.an_example
        yield (
            f"{own.num_repeated} examples of {split} have the x of an earlier one, such as number "
            f"{second} that of number {first}."
        )
    for other, seen in others.items():
        shared = own.shared_with(seen)
        if shared:
            here, there = shared[0]
            yield (
                f"{len(shared)} examples of {split} are in {other} too, such as number {here}, "
                f"which is number {there} there: what is measured on one isn't new to the other."
            )


def _listed(numbers: list[int]) -> str:
    more = ", ..." if len(numbers) > _MOST_NAMED else ""
    return ", ".join(map(str, numbers[:_MOST_NAMED])) + more


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
