"""The batches of an evaluation, in which every example of a split occurs exactly once.

The last step is filled up, so that every replica has the same shapes; an index of -1 marks a row
that only fills up.
"""

import tensorflow as tf

from tfscale.data.batching import batched_spec, parallelism, with_own_threads
from tfscale.data.dataset_file import DatasetFile
from tfscale.data.examples import example_function, example_spec
from tfscale.data.feed import Input
from tfscale.data.sharding import Sharding
from tfscale.data.source import Source
from tfscale.errors import ConfigError
from tfscale.structures import Structure

_PREFETCHED = 2  # steps


def evaluation_input(
    dataset: DatasetFile,
    source: Source,
    sharding: Sharding,
    strategy: tf.distribute.Strategy,
    *,
    seed: int = 0,
) -> Input:
    """Batches `(index, example)` of a split.

    `index` is int64 (replica_batch,), in the order of the split; -1 marks a row that fills up.

    Args:
        dataset: says how a record becomes an example.
        source: the split.
        sharding: this worker's share.
        strategy: whose replicas take the batches.
        seed: of what `preprocess` does at random.

    Raises:
        ConfigError: the split never ends.
    """
    if source.is_infinite:
        raise ConfigError(
            f"{source.name} never ends, so it can't be evaluated as a whole; expected a finite "
            "split. Add .take(...)."
        )
    make_example = example_function(dataset, training=False, seed=seed)
    spec, finish = example_spec(dataset, source, make_example, training=False)
    steps = source.evaluation_steps(sharding)

    def rows() -> tf.data.Dataset:
        places = source.evaluation_places(sharding)

        def row(*place: Structure) -> tuple[tf.Tensor, Structure]:
            record, index, epoch = places.fetch(*place)
            return index, finish(make_example(record, index, epoch), index)

        found = places.elements.map(row, num_parallel_calls=parallelism(), deterministic=True)
        if steps is not None:
            return found  # filled up already, and started again by itself
        nothing = tf.nest.map_structure(lambda leaf: tf.zeros(leaf.shape, leaf.dtype), spec)
        filling = tf.data.Dataset.from_tensors((tf.constant(-1, tf.int64), nothing)).repeat()
        return found.concatenate(filling)

    def batches() -> tf.data.Dataset:
        whole = rows().batch(sharding.replica_batch, drop_remainder=True)
        return with_own_threads(whole.prefetch(_PREFETCHED * sharding.local_replicas))

    return Input(
        make=batches,
        strategy=strategy,
        steps=steps,
        spec=batched_spec(spec, sharding.replica_batch),
        description=source.describe(sharding),
        num_examples=None if steps is None else source.num_examples,
        checksum=source.checksum,
        is_evaluation=True,
    )
