"""How many examples a second each stage gives, on this machine, one after the other."""

import time
from collections.abc import Mapping

import tensorflow as tf

from tfscale.data.batching import unread

_CHUNKS = 10


def examples_per_second(
    stages: Mapping[str, tuple[tf.data.Dataset, int]], num_examples: int
) -> dict[str, float]:
    """Goes through each dataset once more.

    Args:
        stages: by name a dataset of all stages up to this one, and how many examples each of its
            elements has. They were read before, so that files come from the page cache, as they
            do in later epochs if they fit.
        num_examples: that each of them has.

    Returns:
        Examples a second by the name of the stage. The first tenth isn't counted, in which it
        starts, unless there is nothing else.
    """
    rates = {}
    for name, (stage, per_element) in stages.items():
        chunk = max(1, -(-num_examples // per_element) // _CHUNKS)
        before = time.perf_counter()
        chunks = iter(unread(stage).batch(chunk))
        next(chunks)
        first = time.perf_counter()
        has_more = sum(1 for _ in chunks) > 0
        seconds = time.perf_counter() - (first if has_more else before)
        rates[name] = (num_examples - chunk * per_element * has_more) / seconds
    return rates
