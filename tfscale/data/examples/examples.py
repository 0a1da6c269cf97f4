"""How a record becomes an example, and what all examples of a run have in common."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfscale.data.batching import without_autotune
from tfscale.data.class_weights import require_classes, weight_function
from tfscale.data.examples.own_draws import OwnDraws
from tfscale.data.examples.padding import padding_of
from tfscale.data.labels import label_check
from tfscale.data.sharding import Check
from tfscale.data.sources.dataset_file import DatasetFile
from tfscale.data.sources.determinism import (
    is_opaque,
    no_python_draws,
    require_no_draws,
    require_same_twice,
)
from tfscale.data.sources.source import Source, require_readable
from tfscale.errors import ConfigError, one_line
from tfscale.structures import Spec, Structure

_MOST_FIRST, _FIRST_BYTES = 8, 2**24  # examples that are made before training


@dataclass(frozen=True)
class Examples:
    """What all examples of a split have in common.

    Args:
        spec: shapes and dtypes of one, with its weight if it has one.
        finish: weighs an example, and holds it to `spec`; its index is for the message.
        first: a few real ones from the beginning of the split, stacked.
        check: the part of `finish` that refuses examples by their contents, or None.
    """

    spec: Spec
    finish: Callable[[Any, tf.Tensor], Any]
    first: Structure
    check: Check | None


class ExampleMaker:
    """Makes `(x, y)` or `(x, y, sample_weight)` of a record, its index and its epoch.

    The seed that `preprocess` may ask for, and by which it draws where it doesn't, is a function of
    run seed, epoch and index alone, so that augmentation doesn't depend on the number of workers
    or on where a run was resumed.

    Args:
        dataset: the user's file, with its `preprocess`.
        training: what `preprocess` is told.
        seed: of the run.
    """

    def __init__(self, dataset: DatasetFile, *, training: bool, seed: int) -> None:
        """Calls nothing yet."""
        self._dataset, self._training, self._seed = dataset, training, seed
        self._draws = OwnDraws()

    @property
    def varies(self) -> str:
        """Why examples are other ones in each epoch; "" if they aren't, or weren't made yet."""
        if self._dataset.preprocess_takes_seed:
            return "takes a seed"
        return "draws random numbers" if self._draws.are_there else ""

    def __call__(self, record: Structure, index: tf.Tensor, epoch: tf.Tensor) -> Structure:
        """The example."""
        dataset = self._dataset
        if dataset.preprocess is None:
            return record

        def own_seed() -> tf.Tensor:
            fold_in = tf.random.experimental.stateless_fold_in
            own = fold_in(tf.constant([self._seed, 0], tf.int32), tf.cast(epoch, tf.int32))
            return fold_in(own, tf.cast(index, tf.int32))

        given = {"seed": own_seed()} if dataset.preprocess_takes_seed else {}
        given |= dataset.learned_by_preprocess
        with self._draws.by(own_seed):
            return dataset.preprocess(record, self._training, **given)


@tf.autograph.experimental.do_not_convert  # the user's functions come converted
def first_examples(
    dataset: DatasetFile,
    source: Source,
    make_example: Callable[..., Any],
    *,
    training: bool,
) -> Examples:
    """Makes the first examples, and says what holds every other one to them.

    So a mistake in `preprocess` shows before anything is trained. They are the same on all workers.

    Raises:
        ConfigError: an example can't be made or used, has no class for its weight, or depends on
            random numbers that aren't its own.
    """
    call = f"{dataset.name}: preprocess" if dataset.preprocess else source.name
    source = source.singly()  # a damaged record behind the first ones takes none of them with it
    made, made_spec = _first_made(dataset, source, make_example, call, training=training)
    fitting = _padded(dataset, made_spec) if dataset.is_padded else _alike(made, call)
    table = dataset.class_weight if training else None
    if table is not None:
        task, num_classes = dataset.task, dataset.num_classes
        require_classes(table, made[0][1], dataset.name, task=task, num_classes=num_classes)
    weigh = weight_function(table, dataset.task)
    checked = label_check(dataset, fitting.spec)
    largest = dataset.bucket_boundaries[-1] if dataset.bucket_boundaries else 0
    groups = getattr(source, "groups", None) if training else None

    def finish_to(example: Structure, index: tf.Tensor, size: tf.Tensor | int) -> Structure:
        same = fitting.fit(example, index, size)
        return weigh(same if checked is None else checked(same, index))

    def finish(example: Structure, index: tf.Tensor) -> Structure:
        return finish_to(example, index, largest if groups is None else groups.size_at(index))

    def finish_first(example: Structure, index: tf.Tensor) -> Structure:
        return finish_to(example, index, largest)

    with tf.device("CPU:0"):
        finished = list(_finished(made, finish_first, skips=dataset.max_bad_examples > 0))
        first = tf.nest.map_structure(lambda *leaves: tf.stack(leaves), *finished)
    # Of the first one, unless each bucket has a size of its own.
    spec = _spec_of(finished[0]) if groups is None else _weighed_spec(finished[0], fitting.spec)
    return Examples(spec, finish, first, checked)


@dataclass(frozen=True)
class _Fitting:
    """What holds every example to the spec of all.

    Args:
        spec: of one example, without the weight of its class.
        fit: of an example, its index and the size of its bucket.
    """

    spec: Spec
    fit: Callable[[Structure, tf.Tensor, tf.Tensor | int], Structure]


def _alike(made: list[Structure], call: str) -> _Fitting:
    """Every example has the shapes of the first one."""
    spec = _spec_of(made[0])
    for number, example in enumerate(made):
        _require_shapes(example, spec, number, call)

    def fit(example: Structure, index: tf.Tensor, size: tf.Tensor | int) -> Structure:
        del size
        return tf.nest.map_structure(
            lambda leaf, expected: _with_shape(leaf, expected.shape, index, call),
            tf.nest.map_structure(tf.convert_to_tensor, example),
            spec,
        )

    return _Fitting(spec, fit)


def _padded(dataset: DatasetFile, made: Spec) -> _Fitting:
    """Every example is padded."""
    padding = padding_of(dataset, made)
    return _Fitting(padding.spec, lambda example, index, size: padding.pad(example, size))


def _weighed_spec(finished: Structure, fitted: Spec) -> Spec:
    """The spec of finished examples: shapes of what was fitted, and a weight that came after it."""
    known = [leaf.shape for leaf in tf.nest.flatten(fitted)]
    leaves = tf.nest.flatten(finished)
    shapes = [*known, *(leaf.shape for leaf in leaves[len(known) :])]
    specs = [tf.TensorSpec(shape, leaf.dtype) for shape, leaf in zip(shapes, leaves, strict=True)]
    return tf.nest.pack_sequence_as(finished, specs)


def _first_made(
    dataset: DatasetFile,
    source: Source,
    make_example: Callable[..., Any],
    call: str,
    *,
    training: bool,
) -> tuple[list[Structure], Spec]:
    """The first examples as `preprocess` makes them, and what is known of all of them."""
    spec: list[Spec] = []
    try:
        skips = dataset.max_bad_examples > 0
        made = list(_made(source, make_example, call, spec, training=training, skips=skips))
        if skips and not made:  # all of them are bad, and the first one says why
            made = list(_made(source, make_example, call, spec, training=training, skips=False))
    except ConfigError:
        raise
    except Exception as error:
        require_readable(source, _MOST_FIRST)
        raise ConfigError(f"{call} raised {one_line(error)}") from error
    if not made:
        raise ConfigError(f"{source.name} is empty; expected at least one record.")
    return made, spec[0]


def _finished(
    made: list[Structure], finish: Callable[..., Structure], *, skips: bool
) -> Iterator[Structure]:
    for index, example in enumerate(made):
        try:
            yield finish(example, tf.constant(index, tf.int64))
        except tf.errors.InvalidArgumentError as error:
            if not skips or len(made) == 1:
                raise ConfigError(one_line(error)) from error


def _made(
    source: Source,
    make_example: Callable[..., Any],
    call: str,
    spec: list[Spec],
    *,
    training: bool,
    skips: bool,
) -> Iterator[Structure]:
    """The first examples, one after the other, without their weights; writes down their spec."""

    def first_of(number: tf.Tensor, record: Structure) -> Structure:
        return make_example(record, number, tf.constant(0, tf.int64))

    records = source.records
    require_no_draws(source.name, records)
    if skips:
        records = records.ignore_errors()
    records = records.take(_MOST_FIRST if training else 1).enumerate()
    with no_python_draws(call):
        examples = records.map(first_of)
        require_no_draws(call, examples)
    made = examples.element_spec
    spec.append(made)
    # What somebody hands to predict has no y.
    if not isinstance(made, tuple) or len(made) not in ((2, 3) if training else (1, 2, 3)):
        raise ConfigError(f"{call} gives {made}; expected (x, y) or (x, y, sample_weight).")
    size_bytes = 0
    for example in _checked(call, examples, records, first_of, skips=skips):
        yield example
        leaves = tf.nest.flatten(example)
        size_bytes += sum(leaf.shape.num_elements() * leaf.dtype.size for leaf in leaves)
        if size_bytes >= _FIRST_BYTES:
            break


def _checked(
    call: str,
    examples: tf.data.Dataset,
    records: tf.data.Dataset,
    first_of: Callable[..., Structure],
    *,
    skips: bool,
) -> Iterator[Structure]:
    """The examples; each was made twice if only that can show that it depends on nothing else."""

    def kept(made: tf.data.Dataset) -> tf.data.Dataset:
        return without_autotune(made.ignore_errors() if skips else made)

    if not is_opaque(examples):
        yield from kept(examples)
        return

    def twice(number: tf.Tensor, record: Structure) -> tuple[Structure, Structure]:
        return first_of(number, record), first_of(number, record)

    # A generator of the user's that makes the records may draw.
    watch = contextlib.nullcontext() if is_opaque(records, deep=True) else no_python_draws(call)
    with watch:
        for once, again in kept(records.map(twice)):
            require_same_twice(call, once, again)
            yield once


def _spec_of(example: Structure) -> Spec:
    return tf.nest.map_structure(lambda leaf: tf.TensorSpec(leaf.shape, leaf.dtype), example)


def _require_shapes(example: Structure, spec: Spec, number: int, call: str) -> None:
    shapes = zip(tf.nest.flatten(example), tf.nest.flatten(spec), strict=True)
    for leaf, expected in shapes:
        if leaf.shape != expected.shape:
            raise ConfigError(
                f"{call} gives examples whose shapes differ: the first one has {expected.shape}, "
                f"number {number} has {leaf.shape}; expected the same shape for all. Resize or pad "
                "in preprocess."
            )


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
