"""The inputs of a run: what is trained on, and what is evaluated."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from tfscale.data.evaluation_batches import evaluation_input
from tfscale.data.examples.length_buckets import bucketed
from tfscale.data.feed import Input
from tfscale.data.sharding import Sharding
from tfscale.data.sources.dataset_file import DatasetFile, read_dataset_file
from tfscale.data.sources.once_per_file_system import prepare
from tfscale.data.sources.source import source_of
from tfscale.data.sources.statistics import with_statistics
from tfscale.data.training_batches import training_input
from tfscale.errors import ConfigError
from tfscale.startup.job import Job
from tfscale.structures import Structure


@dataclass(frozen=True)
class Splits:
    """One input for each split that the dataset file has.

    Args:
        file: the user's dataset file.
        sharding: this worker's share of a global batch.
        training: of the train split.
        evaluated: of the other splits, by their names; "validation" after every epoch, the rest
            when the run ends.
    """

    file: DatasetFile
    sharding: Sharding
    training: Input
    evaluated: dict[str, Input]

    def end(self) -> None:
        """Ends the live iterators, each of which has threads and batches of its own."""
        for found in self.inputs.values():
            found.rewind()

    @property
    def inputs(self) -> dict[str, Input]:
        """Of all splits, by their names."""
        return {"train": self.training, **self.evaluated}

    def facts(self) -> dict[str, object]:
        """What has to be the same on all workers, or examples would be seen twice and never."""
        inputs = self.inputs
        facts: dict[str, object] = {
            "splits": list(inputs),
            "num_classes": self.file.num_classes,
            "task": self.file.task,
            "the settings of the dataset file": self._settings(),
        }
        for split, found in inputs.items():
            facts[f"number of records of load({split!r})"] = found.num_examples
            facts[f"checksum of the records of load({split!r}), or their order"] = found.checksum
            facts[f"examples of {split!r}"] = str(found.spec)
            facts[f"what is made of the first records of {split!r}"] = _described(found.first)
        return facts

    def _settings(self) -> dict[str, str]:
        """What the file says about the order of training and about its batches."""
        names = ("shuffle", "class_weight", "bucket_boundaries", "padded_shapes", "padding_values")
        return {name: str(getattr(self.file, name)) for name in names}


def _described(first: Structure) -> list[str]:
    """Of each part of a few examples what nodes of different processors have the same.

    A vocabulary or a helper of another version gives the same records another meaning, which only
    what `preprocess` has made of them tells.
    """
    return [_described_leaf(np.asarray(leaf)) for leaf in tf.nest.flatten(first)]


def _described_leaf(values: np.ndarray) -> str:
    if values.dtype.name == "bfloat16":  # which NumPy doesn't know to be a number
        values = values.astype(np.float32)
    if values.dtype == object:  # texts
        return f"texts {zlib.crc32(repr(values.tolist()).encode()):08x}"
    if not np.issubdtype(values.dtype, np.inexact):
        return f"{values.dtype.name} {zlib.crc32(np.ascontiguousarray(values).tobytes()):08x}"
    if np.iscomplexobj(values):
        values = np.abs(values)
    # Decoding and resizing differ between processors in their last digits.
    spread = float(np.std(values, dtype=np.float64))
    middle = float(np.mean(values, dtype=np.float64))
    relative = round(middle / spread, 2) + 0.0 if spread > 0 else f"{middle:.3g}"
    return f"{values.dtype.name} around {relative} x {spread:.2g}"


def read_splits(
    job: Job, dataset: object, learned: Mapping[str, object] | None = None, *, only: str = ""
) -> Splits:
    """Loads every split and lays out who reads what.

    Args:
        job: whose workers share the examples.
        dataset: path of a dataset file, or a module or object with the same attributes.
        learned: what `statistics` gave to the run that this one resumes, on the chief.
        only: the one split that is wanted, to evaluate it; it then stands for that of training too.

    Raises:
        ConfigError: the dataset file can't be used as it is, its batches can't be split, or it
            hasn't the split.
    """
    config, strategy = job.config, job.strategy
    sharding = _sharding(job)
    file = replace(
        read_dataset_file(dataset, config.dataset_option, config.data_dir),
        max_bad_examples=config.max_bad_examples,
        cache=config.cache,
        caches=job.cluster.workers_here,
    )
    say = job.terminal.show
    prepare(file, say)
    file = with_statistics(file, job.board, learned)
    source = source_of(file, only or "train", say)
    if source is None:
        raise ConfigError(
            f"{file.name}: load({only or 'train'!r}) returned None; expected its records."
        )
    if file.num_classes is None and source.classes:
        file = replace(file, num_classes=len(source.classes))
    seed = config.seed
    if only:
        found = evaluation_input(file, source, sharding, strategy, seed=seed)
        return Splits(file, sharding, found, {only: found})
    if file.bucket_boundaries:
        source = bucketed(file, source)
    steps = config.steps_per_epoch
    training = training_input(file, source, sharding, strategy, seed=seed, steps_per_epoch=steps)
    evaluated = {}
    for split in file.splits[1:]:
        other = source_of(file, split, say)
        if other is not None:
            evaluated[split] = evaluation_input(file, other, sharding, strategy, seed=seed)
    return Splits(file, sharding, training, evaluated)


def _sharding(job: Job) -> Sharding:
    """This worker's share.

    Raises:
        ConfigError: the batch can't be split.
    """
    config, cluster = job.config, job.cluster
    sharding = Sharding(config.batch_size, cluster.num_workers, cluster.index, job.devices.count)
    if sharding.replica_batch % config.accumulate_steps:
        raise ConfigError(
            f"--accumulate_steps={config.accumulate_steps} doesn't divide the "
            f"{sharding.replica_batch} examples of each replica; expected a divisor of it. Use for "
            f"example --batch_size={sharding.num_replicas * config.accumulate_steps}."
        )
    return sharding
