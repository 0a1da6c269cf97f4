"""A stream has one order, or it can't be dealt out: every worker reads all of it for itself.

What tf.data may leave to its threads (`deterministic=False`, of an operation or as an option,
however deep in an `interleave`) is taken from them, by the rewrite that TensorFlow has for its own
op determinism, applied to this dataset. What Python makes, nobody can look into: there every
worker keeps a checksum of all that it has read, and after each epoch they compare.
"""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf
from tensorflow.core.framework import dataset_options_pb2

from tfscale.errors import ConfigError
from tfscale.structures import Foreign, Structure

_IGNORE = 1  # of what a dataset's graph depends on outside: it is only looked at
_FACTOR = 1_000_003  # of a polynomial checksum modulo 2^64
_LETTERS = 2**62


def in_fixed_order(name: str, records: tf.data.Dataset) -> tf.data.Dataset:
    """The same records, in an order that doesn't depend on how fast threads are.

    Args:
        name: of what of the user's makes them, for messages.
        records: as the user gave them.

    Raises:
        ConfigError: other processes deal them out.
    """
    nodes = _nodes_of(records)
    if any("DataService" in node.op for node in nodes or ()):
        raise ConfigError(
            f"{name} gets its records from tf.data's service, which gives each to whoever asks "
            "first; expected a fixed order. Remove .apply(distribute(...)): workers share the work "
            "among themselves."
        )
    if nodes is not None and not any(map(_is_free, nodes)):
        return records
    spec = records.element_spec
    leaves = tf.nest.flatten(spec)
    rewritten = tf.raw_ops.OptimizeDatasetV2(
        input_dataset=tf.data.experimental.to_variant(records),
        optimizations_enabled=["make_deterministic"],
        optimizations_disabled=[],
        optimizations_default=[],
        output_types=[leaf.dtype for leaf in leaves],
        output_shapes=[leaf.shape for leaf in leaves],
    )
    options = tf.data.Options()
    options.deterministic = True
    return tf.data.experimental.from_variant(rewritten, spec).with_options(options)


def _nodes_of(records: tf.data.Dataset) -> list[Foreign] | None:
    """Every operation of a dataset and of its functions; None where nobody can tell."""
    try:
        text = tf.raw_ops.DatasetToGraphV2(
            input_dataset=tf.data.experimental.to_variant(records), external_state_policy=_IGNORE
        )
        graph = tf.compat.v1.GraphDef.FromString(text.numpy())
    except Exception:  # it holds what can't be written down, such as a table, or 2 GiB of it
        return None
    return [*graph.node, *(node for inner in graph.library.function for node in inner.node_def)]


def _is_free(node: Foreign) -> bool:
    """Whether threads may decide about the order of what an operation gives."""
    if node.op == "OptionsDataset":
        options = dataset_options_pb2.Options.FromString(node.attr["serialized_options"].s)
        return options.HasField("deterministic") and not options.deterministic
    # Before there was an attribute, an input said it.
    return node.attr["deterministic"].s == b"false" or (
        "ParallelInterleave" in node.op and "deterministic" not in node.attr
    )


class OrderWatch:
    """What a worker has read of a stream, as a number that is the same for the same records."""

    def __init__(self) -> None:
        self._read = tf.lookup.experimental.MutableHashTable(tf.int64, tf.int64, -1)

    def watched(
        self, records: tf.data.Dataset, key_of: Callable[[tf.Tensor], tf.Tensor], first: int = 0
    ) -> tf.data.Dataset:
        """The same records, which are added up as they are read.

        Args:
            records: of which every worker reads all.
            key_of: where what was read up to a record is written down, by its number; int64, -1
                for nowhere.
            first: number of the first one.
        """

        def add(
            state: tuple[tf.Tensor, tf.Tensor], *parts: Structure
        ) -> tuple[tuple[tf.Tensor, tf.Tensor], Structure]:
            number, known = state
            for leaf in tf.nest.flatten(parts):
                text = tf.io.serialize_tensor(leaf)
                known = known * _FACTOR + tf.strings.to_hash_bucket_fast(text, _LETTERS)
            key = key_of(number)
            tf.cond(key < 0, tf.no_op, lambda: self._read.insert(key, known))
            return (number + 1, known), parts if len(parts) > 1 else parts[0]

        start = tf.constant(first, tf.int64), tf.constant(0, tf.int64)
        return records.scan(start, tf.autograph.experimental.do_not_convert(add))

    def at(self, key: int) -> int:
        """What was written down there, -1 if nothing was."""
        return int(self._read.lookup(tf.constant(key, tf.int64)))


@dataclass(frozen=True)
class StepsRead:
    """Where a training's watch writes: at each step, what was read when a worker can take it.

    Args:
        global_batch: records of a step.
        num_workers: that share them.
    """

    global_batch: int
    num_workers: int

    def __call__(self, number: tf.Tensor) -> tf.Tensor:
        """The step, counted from 1, to which the last worker-wide row of records belongs."""
        # Worker 0 takes the first of these, and need not have read on yet.
        end = number + self.num_workers
        return tf.where(end % self.global_batch == 0, end // self.global_batch, -1)


def everything_read(number: tf.Tensor) -> tf.Tensor:
    """Where an evaluation's watch writes: always the same, until all is read."""
    return tf.zeros_like(number)
