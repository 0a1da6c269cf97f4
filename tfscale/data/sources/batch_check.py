"""Whether a dataset yields batches, whatever stands behind the batch: told from the data itself."""

import tensorflow as tf

from tfscale.data.batching import without_autotune
from tfscale.data.sources.dataset_graph import MAPS, kind_of
from tfscale.structures import Foreign

_UNCHANGED = ("Prefetch", "Cache", "Options", "Repeat", "Shuffle", "Take", "Skip", "Shard")
_BATCHES = ("Batch", "ParallelBatch", "PaddedBatch", "MapAndBatch")


def batch_of(records: tf.data.Dataset, *, has_preprocess: bool) -> int:
    """Examples in each element of a dataset that yields batches; 0 for single records.

    A batch below a map may be somebody's way to make one record out of several. It is one of
    examples if what comes out still has as many rows in each of its parts.

    Args:
        records: as the user's `load` gave them.
        has_preprocess: whether records are still made into examples; else x and y are what they
            are.
    """
    size, is_last = _batched_below(records)
    if not size or is_last:
        return size
    leaves = _first(records)
    if len(leaves) < (1 if not has_preprocess else 2):
        return 0
    rows = {int(leaf.shape[0]) if leaf.shape.rank else -1 for leaf in leaves}
    return size if rows == {size} else 0


def _batched_below(records: Foreign) -> tuple[int, bool]:
    """The size of a batch that the dataset is made of, and whether nothing changes it after."""
    is_last = True
    while True:
        kind = kind_of(records)
        if kind in _BATCHES:
            return max(1, int(records._batch_size)), is_last
        if kind in MAPS:
            is_last = False
        elif kind not in _UNCHANGED:
            return 0, False
        (records,) = records._inputs()


def _first(records: tf.data.Dataset) -> list[tf.Tensor]:
    """The parts of the first element; none if it can't be read, which is told where it is used."""
    try:
        for element in without_autotune(records.take(1)):
            return list(tf.nest.flatten(element))
    except Exception:  # the first use of the records says what is wrong
        return []
    return []
