"""The batches of an evaluation, in which every example of a split occurs exactly once.

The last step is filled up, so that every replica has the same shapes; an index of -1 marks a row
that only fills up.
"""

import functools

import tensorflow as tf

from tfscale.data.batching import batched_spec, with_own_threads
from tfscale.data.examples.bad_examples import BadExamples, Make, first_bad
from tfscale.data.examples.cache import ExampleCache, cache_of
from tfscale.data.examples.examples import ExampleMaker, first_examples
from tfscale.data.feed import Input
from tfscale.data.sharding import Places, Sharding
from tfscale.data.sources.dataset_file import DatasetFile
from tfscale.data.sources.source import Source
from tfscale.errors import ConfigError
from tfscale.structures import Spec, Structure

_PREFETCHED = 2  # steps
_SEARCHED = 100_000  # records of a stream, for the one that made a batch fail


def evaluation_input(
    dataset: DatasetFile,
    source: Source,
    sharding: Sharding,
    strategy: tf.distribute.Strategy,
    *,
    seed: int = 0,
) -> Input:
    """Batches `(index, example)`; index is int64 (replica_batch,), -1 for a row that fills up.

    Args:
        dataset, source, sharding, strategy: as of `training_input`.
        seed: of what `preprocess` does at random.

    Raises:
        ConfigError: the split never ends.
    """
    _require_end(source)
    bad = BadExamples(source, dataset.max_bad_examples)
    source = source.singly() if bad.are_skipped else source
    make_example = ExampleMaker(dataset, training=False, seed=seed)
    examples = first_examples(dataset, source, make_example, training=False)
    steps = source.evaluation_steps(sharding)
    cache = cache_of(dataset, source, examples.spec, make_example.varies)
    nothing = tf.constant(-1, tf.int64), _nothing(examples.spec)

    def example(record: Structure, index: tf.Tensor, epoch: tf.Tensor) -> Structure:
        return examples.finish(make_example(record, index, epoch), index)

    def batches(_: int) -> tf.data.Dataset:
        places, make = _kept(source, sharding, example, cache)
        rows = bad.evaluation(places, functools.partial(_row, make), nothing)
        rows = rows if steps is not None else _filled_up(rows, nothing)
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
        first=examples.first,
        order=source.watch_of(sharding),
        bad=bad,
        why=lambda _: _why(source, sharding, example),
    )


def _filled_up(rows: tf.data.Dataset, nothing: Structure) -> tf.data.Dataset:
    """Rows of a source without steps; one that has them fills up, and starts again, by itself."""
    return rows.concatenate(tf.data.Dataset.from_tensors(nothing).repeat())


def _require_end(source: Source) -> None:
    if source.is_infinite:
        raise ConfigError(
            f"{source.name} never ends, so it can't be evaluated as a whole; expected a finite "
            "split. Add .take(...)."
        )


def _row(
    make: Make, record: Structure, index: tf.Tensor, epoch: tf.Tensor
) -> tuple[tf.Tensor, Structure]:
    return index, make(record, index, epoch)


def _kept(
    source: Source, sharding: Sharding, example: Make, cache: ExampleCache | None
) -> tuple[Places, Make]:
    """Places, and what makes examples of them or looks them up."""
    if cache is None:
        return source.evaluation_places(sharding), example
    places, kept = cache.around(source.singly().evaluation_places(sharding), example)

    def of_real(record: Structure, index: tf.Tensor, epoch: tf.Tensor) -> Structure:
        return kept(record, tf.maximum(index, 0), epoch)  # any will do for what only fills up

    return places, of_real


def _why(source: Source, sharding: Sharding, example: Make) -> Exception | None:
    """Of which record no example can be made."""
    singly, steps = source.singly(), source.evaluation_steps(sharding)
    count = steps * sharding.worker_batch if steps else _SEARCHED
    places = singly.evaluation_places(sharding)
    found: Exception | None = first_bad(singly, places, example, count)
    return found


def _nothing(spec: Spec) -> Structure:
    """An example that only fills up."""
    return tf.nest.map_structure(lambda leaf: tf.zeros(leaf.shape, leaf.dtype), spec)
