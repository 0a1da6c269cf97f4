"""The endless batches that a worker's replicas train on.

Each worker takes its share first and does expensive work only on that.
"""

from collections.abc import Callable

import tensorflow as tf

from tfscale.data.batching import batched_spec, parallelism, with_own_threads
from tfscale.data.dataset_file import DatasetFile
from tfscale.data.examples import example_function, first_examples
from tfscale.data.feed import Input
from tfscale.data.sharding import Places, Sharding
from tfscale.data.source import Source
from tfscale.errors import ConfigError
from tfscale.structures import Spec, Structure

_LEAST_PREFETCHED, _MOST_PREFETCHED = 2, 16  # steps
_PREFETCHED_BYTES = 2**24


def training_input(
    dataset: DatasetFile,
    source: Source,
    sharding: Sharding,
    strategy: tf.distribute.Strategy,
    *,
    seed: int,
    steps_per_epoch: int = 0,
) -> Input:
    """The endless training batches.

    Args:
        dataset: says how a record becomes an example.
        source: the train split.
        sharding: this worker's share.
        strategy: whose replicas take the batches.
        seed: of the order and of augmentation.
        steps_per_epoch: steps of an epoch, 0 for as many as there are examples for.

    Raises:
        ConfigError: too few examples, or an unknown number of them and no `steps_per_epoch`.
    """
    steps = _steps_of(source, sharding, steps_per_epoch)
    make_example = example_function(dataset, training=True, seed=seed)
    examples = first_examples(dataset, source, make_example, training=True)
    batch = batched_spec(examples.spec, sharding.replica_batch)
    ahead = _prefetched_steps(batch) * sharding.local_replicas

    def example(record: Structure, index: tf.Tensor, epoch: tf.Tensor) -> Structure:
        return examples.finish(make_example(record, index, epoch), index)

    def batches(first_step: int) -> tf.data.Dataset:
        whole = None
        if dataset.gives_examples:
            whole = source.whole_batches(sharding, seed, first_step)
        if whole is None:
            whole = _examples(source.training_places(sharding, seed, first_step), example)
            whole = whole.batch(sharding.replica_batch, drop_remainder=True)
        return with_own_threads(whole.prefetch(ahead))

    return Input(
        make=batches,
        strategy=strategy,
        steps=steps,
        spec=batch,
        description=source.describe(sharding),
        num_examples=source.num_examples,
        checksum=source.checksum,
        is_evaluation=False,
        first=examples.first,
    )


def _examples(places: Places, example: Callable[..., Structure]) -> tf.data.Dataset:
    return places.elements.map(
        lambda *place: example(*places.fetch(*place)),
        num_parallel_calls=parallelism(),
        deterministic=True,
    )


def _steps_of(source: Source, sharding: Sharding, asked: int) -> int:
    size = source.num_examples
    if size is None:
        if asked:
            return asked
        raise ConfigError(
            f"{source.name} doesn't say how many examples it has; expected --steps_per_epoch "
            "with it. Use for example --steps_per_epoch=1000."
        )
    # Also where --steps_per_epoch is given: a pass of no whole batch would be waited for for ever.
    if size < sharding.global_batch:
        least = sharding.num_replicas
        fitting = size // least * least
        advice = (
            f"Use a smaller batch, for example --batch_size={fitting}."
            if fitting
            else f"Use at most {size} replicas, or more examples."
        )
        raise ConfigError(
            f"{source.name} has {size} examples, fewer than the "
            f"{sharding.global_batch} of one step on {least} replicas. {advice}"
        )
    return asked or size // sharding.global_batch


def _prefetched_steps(batch: Spec) -> int:
    """As many steps as a little memory holds: a short step must not wake a thread each time."""
    sizes = [
        (leaf.shape.num_elements() or _PREFETCHED_BYTES) * max(leaf.dtype.size, 1)
        for leaf in tf.nest.flatten(batch)
    ]
    return int(min(max(_PREFETCHED_BYTES // sum(sizes), _LEAST_PREFETCHED), _MOST_PREFETCHED))
