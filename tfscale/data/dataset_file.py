"""The user's dataset file: what it may define, read and checked once."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfscale.data.class_weights import Table, read_table
from tfscale.errors import ConfigError, one_line
from tfscale.user_files import load_module, name_of, require_function

TASKS = ("classification", "multilabel", "regression", "detection")


@dataclass(frozen=True)
class DatasetFile:
    """What a dataset file says.

    Args:
        name: how to name it in a message.
        load: `load(split)` gives a `tf.data.Dataset` of single records, or None for no split.
        preprocess: `preprocess(record, training)` gives one example; None where records are
            examples. With a third parameter `seed` it also gets an int32 (2,) seed of its own
            for each example and epoch.
        read: `read(record)` gives the `tf.data.Dataset` of records that lie in one file, where
            `load` only names files.
        splits: "train" first; "validation" is evaluated every epoch, any other at the end.
        num_classes: for the model, or None.
        task: from which loss and metrics get their defaults.
        class_weight: weight of each class, or of each class of each output by its name.
    """

    name: str
    load: Callable[[str], tf.data.Dataset | None]
    preprocess: Callable[..., Any] | None = None
    read: Callable[[Any], tf.data.Dataset] | None = None
    splits: tuple[str, ...] = ("train", "validation")
    num_classes: int | None = None
    task: str = "classification"
    class_weight: Table | None = None

    @property
    def gives_examples(self) -> bool:
        """Whether records are examples already, to which nothing is done."""
        return self.preprocess is None and self.class_weight is None

    @property
    def preprocess_takes_seed(self) -> bool:
        """Whether `preprocess` wants a seed for each example."""
        return (
            self.preprocess is not None and "seed" in inspect.signature(self.preprocess).parameters
        )


def read_dataset_file(dataset: object, options: tuple[str, ...] = ()) -> DatasetFile:
    """Reads the user's dataset file.

    Args:
        dataset: a path, or a module or other object with the same attributes.
        options: `NAME=VALUE` texts for its constants.

    Raises:
        ConfigError: there is no `load`, or an attribute isn't what it should be.
    """
    module: object
    if isinstance(dataset, str):
        name, module = dataset, load_module(dataset, options)
    else:
        name, module = name_of(dataset), dataset
    load = require_function(module, "load", name)
    task = getattr(module, "task", "classification")
    if task not in TASKS:
        raise ConfigError(f"{name} has task = {task!r}; expected one of {', '.join(TASKS)}.")
    splits = tuple(getattr(module, "splits", ("train", "validation")))
    if not splits or splits[0] != "train":
        raise ConfigError(
            f'{name} has splits = {splits!r}; expected "train" first, for example '
            '("train", "validation", "test").'
        )
    num_classes = getattr(module, "num_classes", None)
    return DatasetFile(
        name=name,
        load=load,
        preprocess=_converted(_optional_function(module, "preprocess", name)),
        read=_converted(_optional_function(module, "read", name)),
        splits=splits,
        num_classes=num_classes,
        task=task,
        class_weight=read_table(getattr(module, "class_weight", None), name, num_classes),
    )


def load_split(dataset: DatasetFile, split: str) -> tf.data.Dataset | None:
    """Calls the user's `load` for one split and checks what it gives.

    Returns:
        The records, or None where the split doesn't exist (never for "train").

    Raises:
        ConfigError: it failed, or gave something else than single records.
    """
    call = f"{dataset.name}: load({split!r})"
    try:
        records = dataset.load(split)
    except Exception as error:
        raise ConfigError(f"{call} raised {one_line(error)}") from error
    if records is None and split != "train":
        return None
    if not isinstance(records, tf.data.Dataset):
        raise ConfigError(
            f"{call} returned {type(records).__name__}; expected a tf.data.Dataset of single "
            "records, for example tf.data.Dataset.from_tensor_slices(...)."
        )
    if _is_batched(records):
        raise ConfigError(
            f"{call} yields batches ({records.element_spec}); expected single records, because "
            "batches are made after each worker has taken its share. Remove .batch(...)."
        )
    if records.cardinality() == 0:
        raise ConfigError(f"{call} is empty; expected at least one record. Check its source.")
    return records


def _optional_function(module: object, name: str, file: str) -> Callable[..., Any] | None:
    if getattr(module, name, None) is None:
        return None
    function: Callable[..., Any] = require_function(module, name, file)
    return function


def _converted(function: Callable[..., Any] | None) -> Callable[..., Any] | None:
    """What AutoGraph makes of it when it is called: the user may write `if` about a tensor.

    tf.data would do so by itself, but also with every function of ours between it and this one,
    which takes a third of a second.
    """
    if function is None:
        return None
    autograph = tf.__internal__.autograph
    converted: Callable[..., Any] = autograph.tf_convert(function, autograph.control_status_ctx())
    return converted


def _is_batched(records: tf.data.Dataset) -> bool:
    """Whether a batch is the last thing that `load` made.

    A batch below a map is somebody's way to make one record out of several, and stays allowed.
    """
    unchanged = ("Prefetch", "Cache", "Options", "Repeat", "Shuffle", "Take", "Skip", "Shard")
    while True:
        kind = type(records).__name__.lstrip("_").removesuffix("Dataset")
        if kind in ("Batch", "ParallelBatch", "PaddedBatch"):
            return True
        if kind not in unchanged:
            return False
        records = records._input_dataset  # noqa: SLF001 - tf.data has no way to ask
