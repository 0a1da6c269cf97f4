"""One model of the gallery with its data."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SIZE, BATCH, EPOCHS, VALIDATION = 64, 16, 2, 32
SHAPES = ((1, 1), (1, 2), (2, 1), (2, 2))  # workers, devices of each


@dataclass(frozen=True)
class Entry:
    """A model as somebody wrote it.

    Args:
        build: gives the compiled model.
        data: gives `(x, y)` or `(x, y, sample_weight)` of so many examples from a generator.
        settings: of the run, beside batch and epochs; plain Keras gets none of them.
        class_weight: as `fit` takes it.
        of_last_batch: logs that plain Keras shows of the last batch of an evaluation, where all
            examples count here.
        is_of_replicas: whether each replica keeps something of its own examples, so that the
            number of replicas is seen in the result, in the first digits only.
        shapes: on which it trains; every fourth on two workers of two devices each, which takes as
            long as the others together; a model of hundreds of layers on nothing else.
    """

    build: Callable[[], Any]
    data: Callable[[int, np.random.Generator], tuple[Any, ...]]
    settings: dict[str, Any] = field(default_factory=dict)
    class_weight: dict[int, float] | None = None
    of_last_batch: tuple[str, ...] = ()
    is_of_replicas: bool = False
    shapes: tuple[tuple[int, int], ...] = ()


ENTRIES: dict[str, Entry] = {}
_OF_FOUR_REPLICAS = 4


def entry(**settings):
    """Puts a `build` function into the gallery, under its name."""

    def put(build):
        shapes = SHAPES if len(ENTRIES) % _OF_FOUR_REPLICAS == 0 else SHAPES[:-1]
        ENTRIES[build.__name__] = Entry(build, **{"shapes": shapes, **settings})
        return build

    return put


def vectors(size, generator):
    """Regression: float32 (n, 6) to (n, 3)."""
    x = generator.normal(size=(size, 6)).astype(np.float32)
    return x, np.tanh(x[:, :3] - x[:, 3:]).astype(np.float32)


def classes(size, generator):
    """Classification: float32 (n, 6) to a label of 4."""
    x, y = vectors(size, generator)
    return x, (np.argmax(y, axis=1) + (y[:, 0] > 0.5)).astype(np.int64)


def images(size, generator):
    """Classification of images: float32 (n, 8, 8, 3) to a label of 4."""
    labels = generator.integers(0, 4, size)
    x = generator.normal(size=(size, 8, 8, 3)) + labels[:, None, None, None] / 2
    return x.astype(np.float32), labels.astype(np.int64)


def sentences(size, generator):
    """Padded sentences: int32 (n, 10), of which 0 is padding, to one of two classes."""
    x = generator.integers(1, 20, (size, 10))
    lengths = generator.integers(1, 11, size)
    x[np.arange(10)[None] >= lengths[:, None]] = 0
    return x.astype(np.int32), (x.sum(1) % 2).astype(np.int64)
