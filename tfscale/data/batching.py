"""What every pipeline of batches has in common: its threads, its options, its shapes."""

import tensorflow as tf

from tfscale.process.cores import num_cores
from tfscale.structures import Spec, Structure


def parallelism() -> int:
    """How many records are made at the same time."""
    return max(2, num_cores())


def as_record(spec: Spec, parts: tuple[Structure, ...]) -> Structure:
    """The record of a spec of which `map` hands over the parts: it takes tuples apart."""
    return tf.nest.pack_sequence_as(spec, tf.nest.flatten(parts))


def batched_spec(spec: Spec, batch: int) -> Spec:
    """The spec of a replica batch of such examples."""
    return tf.nest.map_structure(lambda leaf: tf.TensorSpec([batch, *leaf.shape], leaf.dtype), spec)


def without_autotune(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Switches off what would choose by itself: the parallelism is given, the shards are made.

    Autotune's thread can hold up the end of an iterator for many seconds.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.with_options(options)


def unread(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """A zero for each element, for who only times them: taking one to Python costs more than it.

    Without TensorFlow's optimizations, which leave out what nobody uses.
    """
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    return dataset.map(lambda *_: tf.constant(0)).with_options(options)


def with_own_threads(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Whoever waits for the next batch may hold a thread of the steps' pool: see `next_of`."""
    options = tf.data.Options()
    options.threading.private_threadpool_size = parallelism()
    return without_autotune(dataset).with_options(options)
