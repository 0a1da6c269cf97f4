"""Batches that somebody hands to `evaluate` or `predict`: each replica takes its part of each.

Every worker reads all of them and passes on its own rows, so a step is one of the given batches, as
in Keras; what comes once an epoch for a whole split is `evaluation_batches`.
"""

from dataclasses import dataclass

import tensorflow as tf

from tfscale.data.batching import as_record, parallelism
from tfscale.data.feed import Input
from tfscale.structures import Spec, Structure

_PREFETCHED = 2  # steps
ENDED = -2  # the index of a row that stands where no batch is left


@dataclass(frozen=True)
class WorkerRows:
    """Which replicas of those that split a batch are this worker's.

    Args:
        replicas: that split it.
        first: of this worker.
        local: how many of them are this worker's.
    """

    replicas: int
    first: int
    local: int


def given_input(
    batches: tf.data.Dataset,
    num_batches: int | None,
    share: WorkerRows,
    strategy: tf.distribute.Strategy,
    *,
    is_alone: bool = False,
) -> Input:
    """An input whose elements are `(index, rows)`, of a replica's part of a batch.

    `index` is int64 (rows,), the row of the batch; -1 marks one that only fills up, so that all
    replicas have as many, and `ENDED` one that comes when the batches are over.

    Args:
        batches: of dense tensors, the same on every worker that takes part.
        num_batches: how many, or None where the end only shows when it comes.
        share: this worker's.
        strategy: whose replicas take them.
        is_alone: whether no other worker takes part.
    """

    def parts(_: int) -> tf.data.Dataset:
        own = batches.map(lambda *parts: _own_rows(as_record(batches.element_spec, parts), share))
        # TensorFlow's distributed iterator asks all workers whether there is more, unless a
        # dataset never ends.
        endless = own.concatenate(_nothing(batches.element_spec, share))
        split = endless.unbatch() if share.replicas > 1 else endless
        return split.prefetch(_PREFETCHED * share.local).with_options(_options(batches))

    return Input(
        make=parts,
        strategy=strategy,
        steps=num_batches,
        spec=batches.element_spec,
        description="the given data",
        num_examples=None,
        checksum=None,
        is_evaluation=True,
        is_alone=is_alone,
    )


def _options(batches: tf.data.Dataset) -> tf.data.Options:
    """No autotune, whose thread holds up an iterator's end, and threads that no step waits for."""
    options = tf.data.Options()
    options.autotune.enabled = False
    if batches.options().threading.private_threadpool_size is None:
        options.threading.private_threadpool_size = parallelism()
    return options


def _own_rows(batch: Structure, share: WorkerRows) -> tuple[tf.Tensor, Structure]:
    rows = tf.shape(tf.nest.flatten(batch)[0], tf.int64)[0]
    if share.replicas == 1:
        return tf.range(rows), batch
    each = -(-rows // share.replicas)
    numbers = share.first * each + tf.range(share.local * each)
    index = tf.where(numbers < rows, numbers, tf.constant(-1, tf.int64))
    # The last row stands in for what isn't there: any row that works would do.
    taken = tf.minimum(numbers, rows - 1)

    def split(leaf: tf.Tensor) -> tf.Tensor:
        return tf.reshape(leaf, tf.concat([[share.local], [each], tf.shape(leaf, tf.int64)[1:]], 0))

    own = tf.nest.map_structure(lambda leaf: split(tf.gather(leaf, taken)), batch)
    return split(index), own


def _nothing(spec: Spec, share: WorkerRows) -> tf.data.Dataset:
    leading = [1] if share.replicas == 1 else [share.local, 1]

    def zeros(leaf: tf.TensorSpec) -> tf.Tensor:
        return tf.zeros([*leading, *(size or 1 for size in leaf.shape[1:])], leaf.dtype)

    row = (tf.fill(leading, tf.constant(ENDED, tf.int64)), tf.nest.map_structure(zeros, spec))
    return tf.data.Dataset.from_tensors(row).repeat()
