"""How a record becomes an example, and what all examples of a run have in common."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfscale.data.batching import as_record, without_autotune
from tfscale.data.class_weights import weight_function
from tfscale.data.dataset_file import DatasetFile
from tfscale.data.source import Source
from tfscale.errors import ConfigError, one_line
from tfscale.structures import Structure

Preprocess = Callable[[Any, tf.Tensor, tf.Tensor], Any]


def example_function(dataset: DatasetFile, *, training: bool, seed: int) -> Preprocess:
    """What makes `(x, y)` or `(x, y, sample_weight)` of a record, its index and its epoch.

    The seed that `preprocess` may ask for is a function of run seed, epoch and index alone, so
    that augmentation doesn't depend on the number of workers or on where a run was resumed.
    """

    def example(record: Structure, index: tf.Tensor, epoch: tf.Tensor) -> Structure:
        if dataset.preprocess is None:
            return record
        if not dataset.preprocess_takes_seed:
            return dataset.preprocess(record, training)
        fold_in = tf.random.experimental.stateless_fold_in
        own = fold_in(tf.constant([seed, 0], tf.int32), tf.cast(epoch, tf.int32))
        own = fold_in(own, tf.cast(index, tf.int32))
        return dataset.preprocess(record, training, seed=own)

    return example


@tf.autograph.experimental.do_not_convert  # the user's functions come converted
def example_spec(
    dataset: DatasetFile,
    source: Source,
    make_example: Callable[..., Any],
    *,
    training: bool,
) -> tuple[Any, Callable[[Any, tf.Tensor], Any]]:
    """Shapes and dtypes of one example, and what holds every other example to them.

    Makes the first example, so that a mistake in `preprocess` shows before anything is trained.
    """
    weigh = weight_function(dataset) if training else lambda example: example
    call = f"{dataset.name}: preprocess" if dataset.preprocess else source.name

    def first_of(*parts: Structure) -> Structure:
        zero = tf.constant(0, tf.int64)
        return make_example(as_record(source.records, parts), zero, zero)

    try:
        examples = source.records.take(1).map(first_of)
        made = examples.element_spec
        # What somebody hands to predict has no y.
        if not isinstance(made, tuple) or len(made) not in ((2, 3) if training else (1, 2, 3)):
            raise ConfigError(f"{call} gives {made}; expected (x, y) or (x, y, sample_weight).")
        first = next(iter(without_autotune(examples.map(lambda *example: weigh(example)))))
    except ConfigError:
        raise
    except StopIteration as error:
        raise ConfigError(f"{source.name} is empty; expected at least one record.") from error
    except Exception as error:
        raise ConfigError(f"{call} raised {one_line(error)}") from error
    spec = tf.nest.map_structure(lambda leaf: tf.TensorSpec(leaf.shape, leaf.dtype), first)

    def finish(example: Structure, index: tf.Tensor) -> Structure:
        return tf.nest.map_structure(
            lambda leaf, expected: _with_shape(leaf, expected.shape, index, call),
            weigh(tf.nest.map_structure(tf.convert_to_tensor, example)),
            spec,
        )

    return spec, finish


def _with_shape(
    leaf: tf.Tensor, expected: tf.TensorShape, index: tf.Tensor, call: str
) -> tf.Tensor:
    if leaf.shape.is_fully_defined() and leaf.shape == expected:
        return leaf
    if leaf.shape.rank not in (None, expected.rank):
        raise ConfigError(f"{call} gives {leaf.shape} where the first example has {expected}.")
    same = tf.debugging.Assert(
        tf.cond(
            tf.equal(tf.rank(leaf), expected.rank),
            lambda: tf.reduce_all(tf.equal(tf.shape(leaf), expected.as_list())),
            lambda: tf.constant(False),
        ),
        [
            f"{call} gives examples whose shapes differ: the first one has {expected}, number",
            index,
            "has",
            tf.shape(leaf),
            "; expected the same shape for all. Resize or pad in preprocess.",
        ],
    )
    with tf.control_dependencies([same]):
        return tf.ensure_shape(tf.identity(leaf), expected)
