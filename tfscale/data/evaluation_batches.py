"""The batches of an evaluation, in which every example of a split occurs exactly once.

The last step is filled up, so that every replica has the same shapes; an index of -1 marks a row
that only fills up.
"""

from collections.abc import Callable

import tensorflow as tf

from tfscale.data.batching import batched_spec, parallelism, with_own_threads
from tfscale.data.dataset_file import DatasetFile
from tfscale.data.examples import example_function, first_examples
from tfscale.data.feed import Input
from tfscale.data.sharding import Sharding
from tfscale.data.source import Source
from tfscale.errors import ConfigError
from tfscale.structures import Spec, Structure

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
    _require_end(source)
    make_example = example_function(dataset, training=False, seed=seed)
    examples = first_examples(dataset, source, make_example, training=False)
    steps = source.evaluation_steps(sharding)

    def row(record: Structure, index: tf.Tensor, epoch: tf.Tensor) -> tuple[tf.Tensor, Structure]:
        return index, examples.finish(make_example(record, index, epoch), index)

    def batches(_: int) -> tf.data.Dataset:
        rows = _rows(source, sharding, row)
        if steps is None:  # what has steps is filled up already, and starts again by itself
            rows = rows.concatenate(_filling(examples.spec))
        whole = rows.batch(sharding.replica_batch, drop_remainder=True)
        return with_own_threads(whole.prefetch(_PREFETCHED * sharding.local_replicas))

    return Input(
        make=batches,
        strategy=strategy,
        steps=steps,
        spec=batched_spec(examples.spec, sharding.replica_batch),
        description=source.describe(sharding),
        num_examples=None if steps is None else source.num_examples,
        checksum=source.checksum,
        is_evaluation=True,
    )


def _require_end(source: Source) -> None:
    if source.is_infinite:
        raise ConfigError(
            f"{source.name} never ends, so it can't be evaluated as a whole; expected a finite "
            "split. Add .take(...)."
        )


def _rows(source: Source, sharding: Sharding, row: Callable[..., Structure]) -> tf.data.Dataset:
    places = source.evaluation_places(sharding)
    return places.elements.map(
        lambda *place: row(*places.fetch(*place)),
        num_parallel_calls=parallelism(),
        deterministic=True,
    )


def _filling(spec: Spec) -> tf.data.Dataset:
    """Endless rows of nothing."""
    nothing = tf.nest.map_structure(lambda leaf: tf.zeros(leaf.shape, leaf.dtype), spec)
    return tf.data.Dataset.from_tensors((tf.constant(-1, tf.int64), nothing)).repeat()
