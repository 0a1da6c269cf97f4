"""The one way to get a job ready: from a strategy that stands to a model that trains on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras

from tfscale.data.splits import Splits
from tfscale.fit.compiled_model import (
    OwnRate,
    rate_and_loss,
    require_fitting_splits,
    require_known_variables,
    require_precision,
)
from tfscale.fit.data_and_model import Built, build
from tfscale.fit.distributed_model import DistributedModel
from tfscale.fit.keras.layers import tables_of
from tfscale.fit.parts import make_parts
from tfscale.fit.state import initial_values
from tfscale.gradients import bucket_size
from tfscale.gradients.bucket_size import BucketSize
from tfscale.gradients.wires import make_wire
from tfscale.model.learning_rate import LearningRate
from tfscale.model.model_facts import (
    facts_of,
    metric_facts,
    variable_facts,
    weight_facts,
    weights_bytes,
)
from tfscale.model.model_file import ModelFile
from tfscale.startup.agreement import SAME_MODEL, require_same
from tfscale.startup.job import Job
from tfscale.startup.strategy import Made, variables_made_apart


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
        sources: as of `Built`.
    """

    data: Splits
    model_file: ModelFile
    distributed: DistributedModel
    rate: LearningRate | OwnRate
    loss: str
    buckets: BucketSize
    sources: Mapping[str, str]

    @property
    def model(self) -> keras.Model:
        """The user's."""
        return self.distributed.model


def prepare(
    job: Job,
    dataset: object,
    model: object,
    *,
    bucket_bytes: int = 0,
    learned: Mapping[str, object] | None = None,
) -> Prepared:
    """Reads the user's files, and makes of them what trains on all replicas.

    Args:
        job: a strategy that stands.
        dataset: path of a dataset file, or a module or object with the same attributes.
        model: path of a model file, such a module or object, or a `build` function.
        bucket_bytes: gradients that travelled together in the run that this one resumes from.
        learned: what `statistics` gave there, on the chief; None for a new run.

    Raises:
        ConfigError: the workers differ, a file can't be used, or the model can't be distributed.
    """
    with variables_made_apart(job.strategy) as made:
        built = build(job, dataset, model, learned)
        rate, loss = rate_and_loss(job, built)
        prepared = _prepared(job, built, rate, loss, bucket_bytes)
    require_precision(job.config, built.model, built.model_file.name)
    require_known_variables(built.model, built.model_file.name)
    require_fitting_splits(job, built)
    _begin_alike(job, prepared.distributed, made)
    return prepared


def prepare_evaluation(
    job: Job,
    dataset: object,
    model: object,
    split: str,
    learned: Mapping[str, object] | None = None,
) -> Prepared:
    """Makes ready what evaluates and predicts one split, and never trains.

    Args:
        job: a strategy that stands.
        dataset: as in `prepare`.
        model: as in `prepare`; what it builds has its weights.
        split: of the dataset file; no other one is read.
        learned: as in `prepare`.

    Raises:
        ConfigError: as in `prepare`.
    """
    with variables_made_apart(job.strategy) as made:
        built = build(job, dataset, model, learned, only=split)
        # A schedule that is over is no reason not to evaluate.
        own = OwnRate(None, None, 0), "the model's own"
        found = own if built.model.compiled else rate_and_loss(job, built)
        prepared = _prepared(job, built, *found, 2**20)  # of what never travels
    _begin_alike(job, prepared.distributed, made)
    return prepared


def _prepared(
    job: Job, built: Built, rate: LearningRate | OwnRate, loss: str, bucket_bytes: int
) -> Prepared:
    """What trains a model that is compiled."""
    if job.cluster.num_workers > 1:
        require_same(job.board, "variables", variable_facts(built.model), SAME_MODEL)
        facts = {"loss": loss, **facts_of(built.model)}
        facts["the tables of the model's layers"] = tables_of(built.model)
        require_same(job.board, "model", facts, SAME_MODEL)
    wire = make_wire(job.config.wire_dtype, job.config.compress, job.strategy.num_replicas_in_sync)
    gradient_bytes = weights_bytes(built.model.trainable_variables)
    buckets = bucket_size.choose(job, wire, gradient_bytes, earlier_bytes=bucket_bytes)
    training = built.data.training
    parts = make_parts(
        job,
        built.model,
        training.spec,
        training.first,
        wire=wire,
        bucket_bytes=buckets.size_bytes,
    )
    distributed = DistributedModel(job, built.model, parts)
    files = built.data, built.model_file
    return Prepared(*files, distributed, rate, loss, buckets, built.sources)


def _begin_alike(job: Job, distributed: DistributedModel, made: Sequence[Made]) -> None:
    """Lets several workers take the same steps from the same values, or refuses.

    Raises:
        ConfigError: they would take other ones.
    """
    if job.cluster.num_workers == 1:
        return
    values, model = initial_values.values_of(made), distributed.model
    facts = {
        **variable_facts(model),
        **metric_facts(model),
        **weight_facts(model, job.strategy, {id(one.variable): str(one) for one in values}),
        "what a step changes": distributed.state.names,
        **distributed.parts.facts(),
        **initial_values.made_facts(made),
    }
    require_same(job.board, "step", facts, SAME_MODEL)
    own = {id(one) for one in distributed.state.own_components}
    initial_values.send(values, job.board, distributed.carrier, but=own)
