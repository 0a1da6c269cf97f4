"""The inputs of a run: what is trained on, and what is evaluated."""

from dataclasses import dataclass, replace

from tfscale.data.buckets import bucketed
from tfscale.data.dataset_file import DatasetFile, read_dataset_file
from tfscale.data.evaluation_batches import evaluation_input
from tfscale.data.feed import Input
from tfscale.data.one_worker_first import prepare
from tfscale.data.sharding import Sharding
from tfscale.data.source import source_of
from tfscale.data.training_batches import training_input
from tfscale.errors import ConfigError
from tfscale.startup.job import Job


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
        }
        for split, found in inputs.items():
            facts[f"number of records of load({split!r})"] = found.num_examples
            facts[f"checksum of the records of load({split!r}), or their order"] = found.checksum
            facts[f"examples of {split!r}"] = str(found.spec)
        return facts


def read_splits(job: Job, dataset: object) -> Splits:
    """Loads every split and lays out who reads what.

    Args:
        job: whose workers share the examples.
        dataset: path of a dataset file, or a module or object with the same attributes.

    Raises:
        ConfigError: the dataset file can't be used as it is, or its batches can't be split.
    """
    config, cluster, strategy = job.config, job.cluster, job.strategy
    sharding = Sharding(config.batch_size, cluster.num_workers, cluster.index, job.devices.count)
    if sharding.replica_batch % config.accumulate_steps:
        raise ConfigError(
            f"--accumulate_steps={config.accumulate_steps} doesn't divide the "
            f"{sharding.replica_batch} examples of each replica; expected a divisor of it. Use for "
            f"example --batch_size={sharding.num_replicas * config.accumulate_steps}."
        )
    file = read_dataset_file(dataset, config.dataset_option, config.data_dir)
    file = replace(
        file,
        max_bad_examples=config.max_bad_examples,
        cache=config.cache,
        caches=cluster.workers_here,
    )
    say = job.terminal.show
    prepare(file, say)
    source = source_of(file, "train", say)
    if source is None:
        raise ConfigError(f"{file.name}: load('train') returned None; expected its records.")
    if file.bucket_boundaries:
        source = bucketed(file, source)
    steps, seed = config.steps_per_epoch, config.seed
    training = training_input(file, source, sharding, strategy, seed=seed, steps_per_epoch=steps)
    evaluated = {}
    for split in file.splits[1:]:
        found = source_of(file, split, say)
        if found is not None:
            evaluated[split] = evaluation_input(file, found, sharding, strategy, seed=seed)
    return Splits(file, sharding, training, evaluated)
