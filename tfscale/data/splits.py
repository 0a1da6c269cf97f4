"""The inputs of a run: what is trained on, and what is evaluated."""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfscale.config import Config
from tfscale.data.dataset_file import DatasetFile, read_dataset_file
from tfscale.data.feed import Input
from tfscale.data.pipeline import evaluation_input, training_input
from tfscale.data.records import enumerate_records, read_records
from tfscale.data.sharding import Sharding
from tfscale.errors import ConfigError


@dataclass(frozen=True)
class RunInputs:
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


def read_inputs(
    config: Config, dataset: object, sharding: Sharding, strategy: tf.distribute.Strategy
) -> RunInputs:
    """Loads every split and lays out who reads what.

    Raises:
        ConfigError: the dataset file can't be used as it is, or its batches can't be split.
    """
    if sharding.replica_batch % config.accumulate_steps:
        raise ConfigError(
            f"--accumulate_steps={config.accumulate_steps} doesn't divide the "
            f"{sharding.replica_batch} examples of each replica; expected a divisor of it. Use for "
            f"example --batch_size={sharding.num_replicas * config.accumulate_steps}."
        )
    file = read_dataset_file(dataset, config.dataset_option)
    records = read_records(file, "train")
    if records is None:
        raise ConfigError(f"{file.name}: load('train') returned None; expected its records.")
    training = training_input(
        file,
        records,
        sharding,
        strategy,
        seed=config.seed,
        steps_per_epoch=config.steps_per_epoch,
    )
    evaluated = {}
    for split in file.splits[1:]:
        found = read_records(file, split)
        if found is not None:
            evaluated[split] = evaluation_input(file, found, sharding, strategy, seed=config.seed)
    return RunInputs(file, sharding, training, evaluated)


def input_of(
    x: Any,  # noqa: ANN401
    y: Any,  # noqa: ANN401
    weight: Any,  # noqa: ANN401
    steps: int | None,
    sharding: Sharding,
    strategy: tf.distribute.Strategy,
) -> Input:
    """What somebody hands to `evaluate` or `predict`, as an input in which each example is once."""
    if isinstance(x, tf.data.Dataset):
        batches = x if steps is None else x.take(steps)
        elements = list(batches.unbatch())
        examples = tf.nest.map_structure(lambda *leaves: tf.stack(leaves), *elements)
    else:
        examples = tuple(part for part in (x, y, weight) if part is not None)
        examples = tf.nest.map_structure(tf.convert_to_tensor, examples)
        if steps is not None:
            size = steps * sharding.global_batch
            examples = tf.nest.map_structure(lambda leaf: leaf[:size], examples)
    if not isinstance(examples, tuple):
        examples = (examples,)
    records = tf.data.Dataset.from_tensor_slices(examples)
    given = DatasetFile(
        "the given data", lambda _: records, None, None, ("train",), None, "regression", None
    )
    return evaluation_input(
        given, enumerate_records(given.name, records, budget_bytes=float("inf")), sharding, strategy
    )
