"""The endless batches that a worker's replicas train on.

Each worker takes its share first and does expensive work only on that.
"""

from dataclasses import dataclass

import tensorflow as tf

from tfscale.data.batching import parallelism, with_own_threads
from tfscale.data.examples.bad_examples import BadExamples, first_bad
from tfscale.data.examples.batch_mixing import mixed_batches, mixed_spec
from tfscale.data.examples.cache import ExampleCache, cache_of
from tfscale.data.examples.examples import ExampleMaker, Examples, first_examples
from tfscale.data.feed import Input
from tfscale.data.sharding import Places, Sharding
from tfscale.data.sources.dataset_file import DatasetFile
from tfscale.data.sources.source import Source
from tfscale.errors import ConfigError
from tfscale.structures import Spec, Structure

_LEAST_PREFETCHED, _MOST_PREFETCHED = 2, 16  # steps
_PREFETCHED_BYTES = 2**24
_SEARCHED = 100_000  # records behind a step, for the one that made a batch fail


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
    bad = BadExamples(source, dataset.max_bad_examples)
    source = source.singly() if bad.are_skipped else source
    make_example = ExampleMaker(dataset, training=True, seed=seed)
    examples = first_examples(dataset, source, make_example, training=True)
    cache = cache_of(dataset, source, examples.spec, make_example.varies)
    made = _Made(dataset, source, sharding, seed, make_example, examples, bad, cache)
    mixed = mixed_spec(dataset.mix, examples, sharding.replica_batch)
    return Input(
        make=made.batches,
        strategy=strategy,
        steps=steps,
        spec=mixed.spec,
        description=source.describe(sharding),
        num_examples=source.num_examples,
        checksum=source.checksum,
        is_evaluation=False,
        first=mixed.first,
        order=source.watch_of(sharding),
        bad=bad,
        why=made.why,
        stages=made.stages,
    )


@dataclass(frozen=True)
class _Made:
    """What a worker's batches are made of."""

    dataset: DatasetFile
    source: Source
    sharding: Sharding
    seed: int
    make_example: ExampleMaker
    examples: Examples
    bad: BadExamples
    cache: ExampleCache | None

    def batches(self, first_step: int) -> tf.data.Dataset:
        """Replica batches from a step of the run on."""
        sharding, whole = self.sharding, None
        if self.dataset.gives_examples and not self.bad.are_skipped:
            check = self.examples.check
            whole = self.source.whole_batches(sharding, self.seed, first_step, check)
        if whole is None:
            source = self.source if self.cache is None else self.source.singly()
            places, make = self._places(source, first_step), self._example
            if self.cache is not None:
                places, make = self.cache.around(places, make)
            made = self.bad.training(places, make)
            whole = made.batch(sharding.replica_batch, drop_remainder=True)
        if self.dataset.mix is not None:
            whole = mixed_batches(self.dataset.mix, whole, sharding, self.seed, first_step)
        ahead = _prefetched_steps(whole.element_spec) * sharding.local_replicas
        return with_own_threads(whole.prefetch(ahead))

    def stages(self) -> dict[str, tuple[tf.data.Dataset, int]]:
        """What reads, what then makes examples, and what batches them."""
        places = self._places(self.source, 0)
        threads = parallelism()
        read = places.elements.map(lambda *place: places.fetch(*place), threads)
        return {
            "reading": (read, 1),
            "preprocessing": (self.bad.training(places, self._example), 1),
            "batching": (self.batches(0), self.sharding.replica_batch),
        }

    def why(self, step: int) -> Exception | None:
        """Of which record at a step, or a little later, no example can be made."""
        singly = self.source.singly()
        places = self._places(singly, step)
        found: Exception | None = first_bad(singly, places, self._example, _SEARCHED)
        return found

    def _places(self, source: Source, first_step: int) -> Places:
        return source.training_places(self.sharding, self.seed, first_step)

    def _example(self, record: Structure, index: tf.Tensor, epoch: tf.Tensor) -> Structure:
        return self.examples.finish(self.make_example(record, index, epoch), index)


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
    steps = source.training_steps(sharding)
    if not steps:
        raise ConfigError(
            f"{source.name} has no bucket with the {sharding.global_batch} examples of one step; "
            "expected at least one. Use a smaller --batch_size, or fewer bucket_boundaries."
        )
    return asked or steps


def _prefetched_steps(batch: Spec) -> int:
    """As many steps as a little memory holds: a short step must not wake a thread each time."""
    sizes = [
        (leaf.shape.num_elements() or _PREFETCHED_BYTES) * max(leaf.dtype.size, 1)
        for leaf in tf.nest.flatten(batch)
    ]
    return int(min(max(_PREFETCHED_BYTES // sum(sizes), _LEAST_PREFETCHED), _MOST_PREFETCHED))
