"""The one way to get a job ready: from a strategy that stands to a model that trains on it."""

import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass

import keras

from tfscale.data.splits import Splits, read_splits
from tfscale.fit import first_values
from tfscale.fit.compiled_model import (
    OwnRate,
    own_rate,
    require_no_overridden_flags,
    require_precision,
)
from tfscale.fit.distributed_model import DistributedModel
from tfscale.fit.keras.downloads import one_download_at_a_time
from tfscale.fit.keras.layers import tables_of
from tfscale.fit.trainable_set import require_known_variables
from tfscale.gradients import bucket_size
from tfscale.gradients.bucket_size import Buckets
from tfscale.gradients.wires import make_wire
from tfscale.model.comparable import facts_of, metric_facts, variable_facts, weight_facts
from tfscale.model.learning_rate import LearningRate, learning_rate
from tfscale.model.model_file import ModelFile, build_model, read_model_file
from tfscale.model.optimizers import make_optimizer
from tfscale.model.task import compile_model
from tfscale.model.weights import weights_bytes
from tfscale.process.patience import told_if_long
from tfscale.process.terminal import Terminal
from tfscale.startup.agreement import SAME_FILES, SAME_MODEL, require_same, surroundings, versions
from tfscale.startup.job import Job
from tfscale.startup.sources import given_sources, imported_sources, library_source
from tfscale.startup.strategy import Made, variables_made_apart
from tfscale.user_paths import located, name_of

_LONG_SECONDS = 20.0


@dataclass(frozen=True)
class Built:
    """The user's files, read.

    Args:
        data: every split, sharded.
        model_file: what the model file says.
        model: as `build` returned it, compiled or not.
    """

    data: Splits
    model_file: ModelFile
    model: keras.Model


@dataclass(frozen=True)
class Prepared:
    """A job that is ready to train.

    Args:
        data: every split, sharded.
        model_file: what the model file says.
        distributed: the model, whose `fit`, `evaluate` and `predict` run on all replicas.
        rate: the learning rate of the run: that of the flags, or a compiled model's own.
        loss: what is minimized, for the reader.
        buckets: how gradients are put together.
    """

    data: Splits
    model_file: ModelFile
    distributed: DistributedModel
    rate: LearningRate | OwnRate
    loss: str
    buckets: Buckets

    @property
    def model(self) -> keras.Model:
        """The user's."""
        return self.distributed.model


def prepare(job: Job, dataset: object, model: object, *, bucket_bytes: int = 0) -> Prepared:
    """Reads the user's files, and makes of them what trains on all replicas.

    Args:
        job: a strategy that stands.
        dataset: path of a dataset file, or a module or object with the same attributes.
        model: path of a model file, such a module or object, or a `build` function.
        bucket_bytes: gradients that travelled together in the run that this one goes on from.

    Raises:
        ConfigError: the workers differ, a file can't be used, or the model can't be distributed.
    """
    with variables_made_apart(job.strategy) as made:
        built = build(job, dataset, model)
        rate: LearningRate | OwnRate
        if built.model.compiled:
            rate, loss = _own_rate(job, built), "the model's own"
        else:
            rate, loss = _compile(job, built)
        if job.cluster.num_workers > 1:
            require_same(job.board, "variables", variable_facts(built.model), SAME_MODEL)
            facts = {"loss": loss, **facts_of(built.model)}
            facts["the tables of the model's layers"] = tables_of(built.model)
            require_same(job.board, "model", facts, SAME_MODEL)
        replicas = job.strategy.num_replicas_in_sync
        wire = make_wire(job.config.wire_dtype, job.config.compress, replicas)
        gradient_bytes = weights_bytes(built.model.trainable_variables)
        buckets = bucket_size.choose(job, wire, gradient_bytes, earlier_bytes=bucket_bytes)
        distributed = DistributedModel(
            job, built.model, built.data, wire=wire, bucket_bytes=buckets.size_bytes
        )
    require_precision(job.config, built.model, built.model_file.name)
    require_known_variables(built.model, built.model_file.name)
    if job.cluster.num_workers > 1:
        _begin_alike(job, distributed, made)
    return Prepared(built.data, built.model_file, distributed, rate, loss, buckets)


def _begin_alike(job: Job, distributed: DistributedModel, made: Sequence[Made]) -> None:
    """Lets all workers take the same steps from the same values, or refuses.

    Raises:
        ConfigError: they would take other ones.
    """
    values, model = first_values.values_of(made), distributed.model
    facts = {
        **variable_facts(model),
        **metric_facts(model),
        **weight_facts(model, job.strategy, {id(one.variable): str(one) for one in values}),
        **distributed.facts(),
        **first_values.made_facts(made),
    }
    require_same(job.board, "step", facts, SAME_MODEL)
    own = {id(one) for one in distributed.state.own_components}
    first_values.send(values, job.board, distributed.carrier, but=own)


def build(job: Job, dataset: object, model: object) -> Built:
    """The first half of `prepare`, for who needs no loss and no optimizer.

    Args:
        job: a strategy that stands.
        dataset: as in `prepare`.
        model: as in `prepare`.

    Raises:
        ConfigError: the workers differ, or a file can't be used.
    """
    is_shared = job.cluster.num_workers > 1
    dataset, model = located(dataset), located(model)
    if is_shared:
        require_same(job.board, "facts", _facts(job, dataset, model))
        sources = {"the files of tfscale": library_source(), **given_sources(dataset, model)}
        require_same(job.board, "sources", sources, SAME_FILES)
    model_file = read_model_file(model, job.config.model_option)
    is_long = told_if_long(_LONG_SECONDS, lambda: _told_of_processes(job.terminal))
    with is_long, one_download_at_a_time(job.terminal.show):
        data = read_splits(job, dataset)
        if is_shared:
            sources = imported_sources()
            require_same(job.board, "imports", sources, SAME_FILES)
            require_same(job.board, "data", data.facts())
        made = build_model(model_file, data.file, data.training.spec, job.strategy)
    return Built(data, model_file, made)


def _told_of_processes(terminal: Terminal) -> bool:
    """Says where the words of processes are that the user's files wait for.

    A pool whose processes die starts others in their place, for ever and without a word.
    """
    processes = multiprocessing.active_children()
    if not processes or terminal.log_path is None:
        return False
    terminal.complain(
        f"The dataset and the model file have worked for {_LONG_SECONDS:.0f} s, and "
        f"{len(processes)} processes that they have started still run. What those say, and why "
        f"they end, is in {terminal.log_path}"
    )
    return True


def _facts(job: Job, dataset: object, model: object) -> dict[str, object]:
    return {
        "device kind": job.devices.kind,
        "number of devices": job.devices.count,
        "versions": versions(),
        "dataset": name_of(dataset),
        "model": name_of(model),
        **job.config.as_flags(same_on_workers=True),
        **surroundings(),
    }


def _own_rate(job: Job, built: Built) -> OwnRate:
    """What a model that came compiled does by itself; refuses flags that would do nothing."""
    require_no_overridden_flags(job.config, built.model_file.name)
    total_steps = (built.data.training.steps or 0) * job.config.epochs
    return own_rate(built.model, built.model_file.name, total_steps=total_steps)


def _compile(job: Job, built: Built) -> tuple[LearningRate, str]:
    """Gives a model that came uncompiled the loss of its task and the run's optimizer.

    Returns:
        The learning rate, and the loss in words.
    """
    config, training = job.config, built.data.training
    rate = learning_rate(config, steps_per_epoch=training.steps or 0)
    with job.strategy.scope():
        optimizer = make_optimizer(
            config.optimizer,
            rate.as_schedule(),
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
        labels, x = training.spec[1], training.first[0]
        loss = compile_model(built.model, built.data.file, labels, optimizer, x)
    return rate, loss
