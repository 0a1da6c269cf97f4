"""The user's dataset file: what it may define, read and checked once."""

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from tfscale.data.class_weights import Table, read_table
from tfscale.data.collection import Collection
from tfscale.data.sources.batch_check import batch_of
from tfscale.data.sources.shuffle_seeds import no_unseeded_shuffle
from tfscale.errors import ConfigError, one_line
from tfscale.user_files import load_module, require_function
from tfscale.user_paths import UserFile, current_folder, located, name_of

DATA_DIR = "data"  # where --data_dir isn't given
TASKS = ("classification", "multilabel", "regression", "detection")


@dataclass(frozen=True)
class DatasetFile:
    """What a dataset file says.

    Args:
        name: how to name it in a message.
        load: `load(split)` gives a `tf.data.Dataset` of single records or a `Collection`, or
            None for no split. With a parameter `data_dir` it also gets that folder.
        preprocess: `preprocess(record, training)` gives one example; None where records are
            examples. With a third parameter `seed` it also gets an int32 (2,) seed of its own
            for each example and epoch.
        read: `read(record)` gives the `tf.data.Dataset` of records that lie in one file, where
            `load` only names files.
        splits: "train" first; "validation" is evaluated every epoch, any other at the end.
        num_classes: for the model, or None.
        task: from which loss and metrics get their defaults.
        metrics: that are asked for beside the task's, as the file has them.
        class_weight: weight of each class, or of each class of each output by its name.
        shuffle: whether every epoch of training has an order of its own, or that of the split.
        mix: `mix(x, y, seed)` gives a replica batch of training, mixed, or None.
        padded_shapes: of each tensor of an example, to which it is padded.
        padding_values: what stands there; None for zeros.
        bucket_boundaries: the largest lengths of buckets, of which each batch has one; none for no
            buckets.
        element_length: of a record, its length.
        prepare: makes on disk what `load` reads; one worker of each file system calls it.
        statistics: gives values by their names that are learned from the training data, once.
        learned: what it gave; `preprocess` gets those that it has parameters for.
        constants: the file's, by their names, and what was learned; `build` gets them by name.
        data_dir: the folder that it makes that in.
        options: `NAME=VALUE` texts that its constants were set by.
        cache: where examples are kept: "none", "memory" or a folder.
        caches: how many workers this machine has, each with a cache of its own.
        max_bad_examples: records of each split that are skipped if no example can be made of them.
    """

    name: str
    load: Callable[[str], tf.data.Dataset | Collection | None]
    preprocess: Callable[..., Any] | None = None
    read: Callable[[Any], tf.data.Dataset] | None = None
    splits: tuple[str, ...] = ("train", "validation")
    num_classes: int | None = None
    task: str = "classification"
    metrics: object = ()
    class_weight: Table | None = None
    shuffle: bool = True
    mix: Callable[..., Any] | None = None
    padded_shapes: Any = None
    padding_values: Any = None
    bucket_boundaries: tuple[int, ...] = ()
    element_length: Callable[[Any], Any] | None = None
    prepare: Callable[[], None] | None = None
    statistics: Callable[[], Mapping[str, Any]] | None = None
    learned: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    data_dir: str = DATA_DIR
    options: tuple[str, ...] = ()
    cache: str = "none"
    caches: int = 1
    max_bad_examples: int = 0

    @property
    def gives_examples(self) -> bool:
        """Whether records are examples already, to which nothing is done."""
        return self.preprocess is None and self.class_weight is None and not self.is_padded

    @property
    def is_padded(self) -> bool:
        """Whether examples differ in size and are padded."""
        return self.padded_shapes is not None or bool(self.bucket_boundaries)

    @property
    def preprocess_takes_seed(self) -> bool:
        """Whether `preprocess` wants a seed for each example."""
        return self.preprocess is not None and _takes(self.preprocess, "seed")

    @property
    def learned_by_preprocess(self) -> dict[str, Any]:
        """What was learned that `preprocess` has parameters for."""
        function = self.preprocess
        if function is None or not self.learned:
            return {}
        return {name: value for name, value in self.learned.items() if _takes(function, name)}


def read_dataset_file(
    dataset: object, options: tuple[str, ...] = (), data_dir: str | None = None
) -> DatasetFile:
    """Reads the user's dataset file.

    Args:
        dataset: a path (see `user_files.located`), or a module or other object with the same
            attributes.
        options: `NAME=VALUE` texts for its constants.
        data_dir: the folder that its data is in, or None for "data". What is loaded gets it as an
            absolute path.

    Raises:
        ConfigError: there is no `load`, an attribute isn't what it should be, or there is a
            `data_dir` that the file doesn't ask for.
    """
    dataset = located(dataset)
    here = dataset.folder if isinstance(dataset, UserFile) else current_folder()
    folder = str(here / os.path.expanduser(data_dir or DATA_DIR))  # before it can change the folder
    name = name_of(dataset)
    module = load_module(dataset, options) if isinstance(dataset, UserFile) else dataset
    load = require_function(module, "load", name)
    prepare = _optional_function(module, "prepare", name)
    statistics = _optional_function(module, "statistics", name)
    _require_asked_for(data_dir, name, load, prepare, statistics)
    task = _task(module, name)
    num_classes = getattr(module, "num_classes", None)
    return DatasetFile(
        name=name,
        load=_with_folder(load, folder),
        preprocess=_converted(_optional_function(module, "preprocess", name)),
        read=_converted(_optional_function(module, "read", name)),
        splits=_splits(module, name),
        num_classes=num_classes,
        task=task,
        metrics=getattr(module, "metrics", ()),
        class_weight=read_table(getattr(module, "class_weight", None), name, num_classes),
        shuffle=_flag(module, "shuffle", name, default=True),
        mix=_converted(_optional_function(module, "mix", name)),
        padded_shapes=getattr(module, "padded_shapes", None),
        padding_values=getattr(module, "padding_values", None),
        bucket_boundaries=_boundaries(module, name),
        element_length=_converted(_optional_function(module, "element_length", name)),
        prepare=None if prepare is None else _with_folder(prepare, folder),
        statistics=None if statistics is None else _with_folder(statistics, folder),
        constants=_constants(module),
        data_dir=folder,
        options=options,
    )


def _task(module: object, name: str) -> str:
    task = getattr(module, "task", "classification")
    if task not in TASKS:
        raise ConfigError(f"{name} has task = {task!r}; expected one of {', '.join(TASKS)}.")
    return str(task)


def _constants(module: object) -> dict[str, Any]:
    """What a file defines that is no function, class or module, and that isn't its own affair."""
    return {
        name: value
        for name, value in getattr(module, "__dict__", {}).items()
        if not name.startswith("_") and not callable(value) and not inspect.ismodule(value)
    }


def _splits(module: object, name: str) -> tuple[str, ...]:
    splits = tuple(getattr(module, "splits", ("train", "validation")))
    if not splits or splits[0] != "train":
        raise ConfigError(
            f'{name} has splits = {splits!r}; expected "train" first, for example '
            '("train", "validation", "test").'
        )
    return splits


def _require_asked_for(
    data_dir: str | None, name: str, *functions: Callable[..., Any] | None
) -> None:
    """Refuses a folder that no function of the file asks for."""
    if data_dir is None or any(one is not None and _takes(one, "data_dir") for one in functions):
        return
    raise ConfigError(
        f"--data_dir={data_dir} is given, but {name} doesn't ask for it; expected a parameter "
        "`data_dir` of its load. Write def load(split, data_dir), or leave the flag out."
    )


def _flag(module: object, attribute: str, name: str, *, default: bool) -> bool:
    value = getattr(module, attribute, default)
    if not isinstance(value, bool):
        raise ConfigError(f"{name} has {attribute} = {value!r}; expected True or False.")
    return value


def _boundaries(module: object, name: str) -> tuple[int, ...]:
    given = getattr(module, "bucket_boundaries", None) or ()
    found = tuple(given)
    are_sizes = all(isinstance(one, int) and one > 0 for one in found)
    if not are_sizes or list(found) != sorted(set(found)):
        raise ConfigError(
            f"{name} has bucket_boundaries = {given!r}; expected rising whole numbers, for example "
            "(32, 64, 128)."
        )
    return found


def load_split(dataset: DatasetFile, split: str) -> tf.data.Dataset | Collection | None:
    """Calls the user's `load` for one split and checks what it gives.

    Returns:
        The records, or None where the split doesn't exist (never for "train").

    Raises:
        ConfigError: it failed, or gave something else than single records.
    """
    call = f"{dataset.name}: load({split!r})"
    try:
        with no_unseeded_shuffle(call):
            records = dataset.load(split)
    except ConfigError:
        raise
    except Exception as error:
        if not isinstance(error, KeyError) or error.args != (split,) or split == "train":
            raise ConfigError(f"{call} raised {one_line(error)}") from error
        raise ConfigError(
            f"{call} knows no split of that name (KeyError); expected its records, or None where "
            f"there are none. Return None for it, or leave {split!r} out of splits."
        ) from error
    if records is None and split != "train":
        return None
    if isinstance(records, Collection):
        _require_some(records.num_records, call)
        return records
    if not isinstance(records, tf.data.Dataset):
        raise ConfigError(
            f"{call} returned {type(records).__name__}; expected a tf.data.Dataset of single "
            "records, for example tf.data.Dataset.from_tensor_slices(...)."
        )
    size = batch_of(records, has_preprocess=dataset.preprocess is not None)
    if size:
        raise ConfigError(
            f"{call} yields batches of {size} ({records.element_spec}); expected single records, "
            "because batches are made after each worker has taken its share. Remove .batch(...), "
            "give batch_size=None to a function of Keras's, or add .unbatch()."
        )
    _require_some(records.cardinality(), call)
    return records


def _require_some(number: int, call: str) -> None:
    if number == 0:
        raise ConfigError(f"{call} is empty; expected at least one record. Check its source.")


def _takes(function: Callable[..., Any], parameter: str) -> bool:
    return parameter in inspect.signature(function).parameters


def _with_folder(function: Callable[..., Any], data_dir: str) -> Callable[..., Any]:
    """A function that gets the folder of the data if it asks for it."""
    if not _takes(function, "data_dir"):
        return function
    return functools.partial(function, data_dir=data_dir)


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
