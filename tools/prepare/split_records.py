"""The records that `load` gives for a split, from any one to any other, whatever they come from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import tensorflow as tf

from tfscale.data.batching import as_record, without_autotune
from tfscale.data.collection import Collection
from tfscale.data.sources.dataset_file import load_split, read_dataset_file
from tfscale.data.sources.dataset_graph import collection_of
from tfscale.data.sources.determinism import require_no_draws
from tfscale.data.sources.indexed import Indexed
from tfscale.data.sources.once_per_file_system import fill_caches, prepare
from tfscale.data.sources.source import first_of
from tfscale.errors import ConfigError
from tfscale.process.terminal import silence
from tfscale.structures import Structure
from tools.prepare.serialized import to_json


@dataclass(frozen=True)
class SplitRecords:
    """One split, before `preprocess`.

    Args:
        name: file and split, for messages.
        count: how many records; None where only reading all of them tells.
        between: gives the records from one number up to, but without, another, or up to the end
            for -1.
        is_indexed: whether nothing has to be passed over for that.
    """

    name: str
    count: int | None
    between: Callable[[int, int], tf.data.Dataset]
    is_indexed: bool = False

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


def open_split(asked: Asked, say: Callable[[str], None] = silence) -> SplitRecords:
    """Loads a split, after what has to lie on disk for that.

    Args:
        asked: the split.
        say: gets a line when the file's `prepare` works, and every ten seconds of waiting.

    Raises:
        ConfigError: there is no such file or split, its records never end, or are something else
            than dense tensors in dicts and tuples, or come in another order each time.
    """
    dataset = read_dataset_file(asked.dataset, asked.options, asked.data_dir or None)
    prepare(dataset, say)
    name = f"{dataset.name}: load({asked.split!r})"
    given = load_split(dataset, asked.split)
    if given is None:
        raise ConfigError(
            f"{name} returned None; expected a split with records. Leave it out of --split."
        )
    found = _split_records(name, given, dataset.read, say)
    try:
        to_json(found.between(0, 1).element_spec)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error
    if not found.is_indexed:
        # Each process reads all for itself: their parts must be those of one order.
        first_of(name, found.between(0, -1))
    return found


def _split_records(
    name: str,
    given: tf.data.Dataset | Collection,
    read: Callable[[Structure], tf.data.Dataset] | None,
    say: Callable[[str], None],
) -> SplitRecords:
    if isinstance(given, tf.data.Dataset):
        fill_caches(given, say)
        require_no_draws(name, given)
        # Nothing has to be passed over in what can be reached by an index.
        given = collection_of(given) or given
    if isinstance(given, Collection):
        indexed = Indexed(name, given)
        if read is None:
            return SplitRecords(name, given.num_records, indexed.between, is_indexed=True)
        given = indexed.records
    records = given
    if read is not None:
        spec = given.element_spec
        records = given.flat_map(lambda *parts: read(as_record(spec, parts)))
    count = int(records.cardinality())
    if count == tf.data.INFINITE_CARDINALITY:
        raise ConfigError(
            f"{name} never ends; expected records that can all be written. Add .take(...), or "
            "leave .repeat() away: epochs are made when they are trained on."
        )
    return SplitRecords(name, count if count >= 0 else None, partial(_between, records))


def _between(records: tf.data.Dataset, first: int, last: int) -> tf.data.Dataset:
    return records.skip(first).take(last - first if last >= 0 else -1)
