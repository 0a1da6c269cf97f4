"""The records that `load` gives for a split, from any one to any other, whatever they come from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from typing import Any

import tensorflow as tf

from tfscale.data.batching import without_autotune
from tfscale.data.collection import Collection
from tfscale.data.dataset_file import DatasetFile, load_split, read_dataset_file
from tfscale.data.formats.record_spec import to_json
from tfscale.errors import ConfigError, one_line
from tfscale.structures import Structure

_AT_ONCE = 64


@dataclass(frozen=True)
class SplitRecords:
    """One split, before `preprocess`.

    Args:
        name: file and split, for messages.
        count: how many records; None where only reading all of them tells.
        between: gives the records from one number up to, but without, another.
    """

    name: str
    count: int | None
    between: Callable[[int, int], tf.data.Dataset]

    def counted(self) -> "SplitRecords":
        """The same with the count, for which all records are read if nothing else tells."""
        if self.count is not None:
            return self
        everything = without_autotune(self.between(0, -1))
        count = everything.reduce(tf.constant(0, tf.int64), lambda count, _: count + 1)
        return replace(self, count=int(count))


@dataclass(frozen=True)
class Asked:
    """Which split of which dataset file.

    Args:
        dataset: path of the file.
        split: its name.
        options: `NAME=VALUE` texts for the file's constants.
        data_dir: what `load(split, data_dir)` gets; empty for its default, "data".
    """

    dataset: str
    split: str
    options: tuple[str, ...] = ()
    data_dir: str = ""


def open_split(asked: Asked) -> SplitRecords:
    """Loads a split.

    Raises:
        ConfigError: there is no such file or split, its records never end, or are something else
            than dense tensors in dicts and tuples.
    """
    dataset = _with_data_dir(read_dataset_file(asked.dataset, asked.options), asked.data_dir)
    name = f"{dataset.name}: load({asked.split!r})"
    given = _given(dataset, asked.split, name)
    if isinstance(given, Collection):
        found = SplitRecords(name, given.num_records, partial(_of_collection, given))
    else:
        records = given if dataset.read is None else given.flat_map(_whole(given, dataset.read))
        count = int(records.cardinality())
        if count == tf.data.INFINITE_CARDINALITY:
            raise ConfigError(
                f"{name} never ends; expected records that can all be written. Add .take(...), or "
                "leave .repeat() away: epochs are made when they are trained on."
            )
        found = SplitRecords(name, count if count >= 0 else None, partial(_of_dataset, records))
    try:
        to_json(found.between(0, 1).element_spec)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error
    return found


def _given(dataset: DatasetFile, split: str, name: str) -> tf.data.Dataset | Collection:
    seen: list[object] = []

    def load(of_split: str) -> tf.data.Dataset | None:
        seen.append(dataset.load(of_split))
        # A stand-in passes the checks, which a collection doesn't need.
        return tf.data.Dataset.range(1) if isinstance(seen[0], Collection) else seen[0]

    records = load_split(replace(dataset, load=load), split)
    if records is None:
        raise ConfigError(
            f"{name} returned None; expected a split with records. It has {dataset.splits}."
        )
    return seen[0] if isinstance(seen[0], Collection) else records


def _with_data_dir(dataset: DatasetFile, data_dir: str) -> DatasetFile:
    if "data_dir" in signature(dataset.load).parameters:
        load: Callable[..., Any] = dataset.load
        return replace(dataset, load=partial(load, data_dir=data_dir or "data"))
    if data_dir:
        raise ConfigError(
            f"--data_dir={data_dir} is given, but load of {dataset.name} doesn't take it; expected "
            "`def load(split, data_dir)`. Leave the flag away, or write the parameter."
        )
    return dataset


def _of_dataset(records: tf.data.Dataset, first: int, last: int) -> tf.data.Dataset:
    return records.skip(first).take(last - first if last >= 0 else -1)


def _of_collection(given: Collection, first: int, last: int) -> tf.data.Dataset:
    records = tf.data.Dataset.range(first, last if last >= 0 else given.num_records)
    records = records.batch(_AT_ONCE).map(given.read).unbatch()
    for function in given.functions:
        records = records.map(_whole(records, function))
    return records


def _whole(records: tf.data.Dataset, function: Callable[[Structure], Any]) -> Callable[..., Any]:
    """A function for tf.data, which takes tuples apart, of one that wants a record whole."""
    spec = records.element_spec
    return lambda *parts: function(tf.nest.pack_sequence_as(spec, tf.nest.flatten(parts)))


def failure(name: str, error: Exception) -> ConfigError:
    """Why a split can't be read to its end."""
    return ConfigError(f"{name} failed while its records were read: {one_line(error)}")
