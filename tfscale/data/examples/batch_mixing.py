"""MixUp and its like: what a dataset file's `mix` makes of a replica batch of training."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfscale.data.batching import batched_spec
from tfscale.data.examples.examples import Examples
from tfscale.data.sharding import Sharding
from tfscale.errors import ConfigError, one_line
from tfscale.structures import Spec, Structure

Mix = Callable[..., Any]


@dataclass(frozen=True)
class Mixed:
    """What batches are once they are mixed.

    Args:
        spec: of a replica batch.
        first: a few real examples, stacked and mixed.
    """

    spec: Spec
    first: Structure


def mixed_spec(mix: Mix | None, examples: Examples, replica_batch: int) -> Mixed:
    """What `mix` makes of the examples, tried on the first ones; with None they stay as they are.

    Raises:
        ConfigError: it fails, doesn't keep the number of examples, or they have weights.
    """
    spec = batched_spec(examples.spec, replica_batch)
    if mix is None:
        return Mixed(spec, examples.first)
    if len(examples.spec) != 2:
        raise ConfigError(
            "mix(x, y, seed) is given examples with weights, which it can't mix; expected (x, y). "
            "Leave class_weight and sample_weight out of a file with mix."
        )
    paired = tf.nest.map_structure(_pairs, examples.first)
    try:
        x, y = mix(*paired, tf.zeros([2], tf.int32))
    except Exception as error:
        raise ConfigError(f"mix(x, y, seed) raised {one_line(error)}") from error
    count = len(tf.nest.flatten(paired)[0])
    leaves = [tf.convert_to_tensor(leaf) for leaf in tf.nest.flatten((x, y))]
    if any(leaf.shape.rank == 0 or leaf.shape[0] != count for leaf in leaves):
        raise ConfigError(
            f"mix(x, y, seed) makes {[tuple(leaf.shape) for leaf in leaves]} of {count} examples; "
            "expected as many as it was given, in the first axis of each tensor."
        )
    of_one = tf.nest.map_structure(
        lambda leaf, old: tf.TensorSpec(_shape_of_one(leaf, old), leaf.dtype), (x, y), examples.spec
    )
    return Mixed(batched_spec(of_one, replica_batch), (x, y))


def mixed_batches(
    mix: Mix, batches: tf.data.Dataset, sharding: Sharding, seed: int, first_step: int
) -> tf.data.Dataset:
    """Replica batches, each mixed by a seed of the run's seed and of the step alone.

    All replicas of a step draw the same, so that what neighbours make of each other doesn't depend
    on how many replicas there are.

    Args:
        mix: of `(x, y, seed)`; the seed is int32 (2,).
        batches: of this worker, replica by replica.
        sharding: which tells how many make a step.
        seed: of the run.
        first_step: the step of the run that the first ones are of.
    """

    def mixed(number: tf.Tensor, batch: Structure) -> Structure:
        step = tf.cast(number // sharding.local_replicas, tf.int32)
        run = tf.constant([seed, 1], tf.int32)  # the examples' own seeds begin with (seed, 0)
        x, y = mix(*batch, tf.random.experimental.stateless_fold_in(run, step))
        return x, y

    numbered = batches.enumerate(first_step * sharding.local_replicas)
    return numbered.map(mixed, num_parallel_calls=2, deterministic=True)


def _pairs(first: tf.Tensor) -> tf.Tensor:
    """An even number of examples, of which neighbours can be mixed."""
    return tf.concat([first, first[-1:]], 0) if len(first) % 2 else first


def _shape_of_one(leaf: tf.Tensor, old: tf.TensorSpec) -> tf.TensorShape:
    made = leaf.shape[1:]
    return old.shape if made.rank == old.shape.rank else made
