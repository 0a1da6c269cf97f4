"""Examples of different size: each is padded, to a size of the file's or of its bucket."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfscale.data.sources.dataset_file import DatasetFile
from tfscale.errors import ConfigError
from tfscale.structures import Spec, Structure


@dataclass(frozen=True)
class Padding:
    """What examples of a split are padded to.

    Args:
        spec: of a padded example; None stands where each bucket has a size of its own.
        pad: of an example and the size of its bucket makes a padded one.
    """

    spec: Spec
    pad: Callable[[Structure, tf.Tensor | int], Structure]


def padding_of(dataset: DatasetFile, made: Spec) -> Padding:
    """How the examples of a dataset file are padded.

    Labels of a sequence, one for each of its places, get a weight for each place: 1, or 0 where
    there is only padding.

    Args:
        dataset: the user's, with `padded_shapes` or `bucket_boundaries`.
        made: the spec of what `preprocess` gives, with None for sizes that differ.

    Raises:
        ConfigError: `padded_shapes` or `padding_values` don't fit the examples.
    """
    masks = _wants_mask(dataset, made)
    with_mask = (*made, tf.TensorSpec(made[1].shape, tf.float32)) if masks else made
    shapes = _shapes(dataset, made)
    if masks:
        shapes = (*shapes, shapes[1])
    values = _values(dataset, with_mask)
    spec = tf.nest.map_structure(
        lambda leaf, shape: tf.TensorSpec(shape.sizes, leaf.dtype), with_mask, shapes
    )

    def pad(example: Structure, size: tf.Tensor | int) -> Structure:
        whole = tf.nest.map_structure(tf.convert_to_tensor, example)
        if masks:
            whole = (*whole, tf.ones(tf.shape(whole[1]), tf.float32))
        return tf.nest.map_structure(
            lambda leaf, shape, value, one: _padded(leaf, shape, value, one, size, dataset.name),
            whole,
            shapes,
            values,
            spec,
        )

    return Padding(spec, pad)


@dataclass(frozen=True)
class _Shape:
    """A shape as one leaf: `tf.nest` would take a tuple apart."""

    sizes: tuple[int | None, ...]


def _shapes(dataset: DatasetFile, made: Spec) -> Structure:
    """The padded shape of each tensor, None where the bucket has it."""
    if dataset.padded_shapes is None:
        if any(leaf.shape.rank is None for leaf in tf.nest.flatten(made)):
            raise ConfigError(
                f"{dataset.name} has examples of unknown rank ({made}), which can't be padded; "
                "expected known ranks. Use tf.ensure_shape(tensor, [None]) in preprocess."
            )
        return tf.nest.map_structure(lambda leaf: _Shape(tuple(leaf.shape.as_list())), made)
    return _as_given(dataset, made, dataset.padded_shapes)


def _as_given(dataset: DatasetFile, made: Spec, given: Structure) -> Structure:
    """The user's shapes in the structure of an example."""
    if isinstance(made, dict) and isinstance(given, dict) and made.keys() == given.keys():
        return {key: _as_given(dataset, made[key], given[key]) for key in made}
    if isinstance(made, tuple) and isinstance(given, tuple | list) and len(made) == len(given):
        return tuple(_as_given(dataset, *both) for both in zip(made, given, strict=True))
    if isinstance(made, tf.TensorSpec) and isinstance(given, tuple | list):
        are_sizes = all(one is None or (isinstance(one, int) and one >= 0) for one in given)
        sizes = tuple(given)
        if are_sizes and made.shape.rank in (None, len(sizes)):
            if not dataset.bucket_boundaries and None in sizes and made.shape.rank is not None:
                known = made.shape.as_list()
                sizes = tuple(b if a is None else a for a, b in zip(sizes, known, strict=True))
            if dataset.bucket_boundaries or None not in sizes:
                return _Shape(sizes)
    raise ConfigError(
        f"{dataset.name} has padded_shapes = {dataset.padded_shapes!r}, which don't fit its "
        f"examples ({made}); expected a tuple of sizes for each tensor, such as ((128,), ()) for x "
        "of one axis and y of none."
    )


def _values(dataset: DatasetFile, made: Spec) -> Structure:
    """What stands in the padded places of each tensor."""
    given = dataset.padding_values
    flat: list[Any] = list(tf.nest.flatten(given)) if given is not None else []
    leaves = tf.nest.flatten(made)
    missing = len(leaves) - len(flat)
    if given is not None and missing not in (0, 1):
        raise ConfigError(
            f"{dataset.name} has padding_values = {given!r}; expected one value for each tensor "
            f"of an example ({made})."
        )
    filled = [*flat, *([0] * missing)]  # a weight that is left out is 0 where there is nothing
    values = [
        tf.constant("" if value == 0 and leaf.dtype == tf.string else value, leaf.dtype)
        for value, leaf in zip(filled, leaves, strict=True)
    ]
    return tf.nest.pack_sequence_as(made, values)


def _padded(
    leaf: tf.Tensor,
    shape: _Shape,
    value: tf.Tensor,
    spec: tf.TensorSpec,
    size: tf.Tensor | int,
    name: str,
) -> tf.Tensor:
    if not shape.sizes:
        return leaf
    wanted = tf.stack([tf.cast(size if one is None else one, tf.int32) for one in shape.sizes])
    missing = wanted - tf.shape(leaf)
    fits = tf.debugging.Assert(
        tf.reduce_all(missing >= 0),
        [
            f"{name} has an example of shape",
            tf.shape(leaf),
            "which is larger than what it is padded to,",
            wanted,
            "; expected no more. Cut it in preprocess, or raise padded_shapes or the last of "
            "bucket_boundaries.",
        ],
    )
    with tf.control_dependencies([fits]):
        pairs = tf.stack([tf.zeros_like(missing), missing], axis=1)
        return tf.ensure_shape(tf.pad(leaf, pairs, constant_values=value), spec.shape)


def _wants_mask(dataset: DatasetFile, made: Spec) -> bool:
    """Whether labels are one for each place of a sequence, and come without weights."""
    if len(made) != 2 or dataset.task not in ("classification", "regression"):
        return False
    y = made[1]
    return isinstance(y, tf.TensorSpec) and y.shape.rank == 1 and y.shape[0] is None
