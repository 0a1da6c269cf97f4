"""What trying a model on a few real examples has shown, before it trains on several replicas."""

from dataclasses import dataclass

import keras
import tensorflow as tf

from tfscale.fit.checks.build import Steps
from tfscale.fit.checks.custom_losses import depends_on_batch, numbers_are_sums
from tfscale.fit.checks.custom_state import averaged
from tfscale.fit.checks.metric_reductions import kinds_of
from tfscale.structures import Structure


@dataclass(frozen=True)
class Findings:
    """What is so of the parts that somebody wrote.

    Args:
        metric_kinds: how the variables of own metrics are put together, by their ids.
        losses_are_sums: whether numbers that own losses give are sums over examples.
        depends_on_batch: whether a loss isn't the mean of those of the parts of a batch.
        near: paths of variables whose mean over replicas is only near.
    """

    metric_kinds: dict[int, str]
    losses_are_sums: bool
    depends_on_batch: bool
    near: list[str]

    @property
    def rows(self) -> dict[str, object]:
        """What the plan has to say: the result depends on the number of replicas."""
        rows: dict[str, object] = {}
        if self.depends_on_batch:
            rows["loss of a batch"] = (
                "not the mean of its examples' losses: each replica takes it of its own part of "
                "the batch"
            )
        if self.near:
            paths = ", ".join(self.near)
            rows["own state"] = f"{paths}: the mean over replicas, each of its part of a batch"
        return rows


def find(
    model: keras.Model, first: Structure, steps: Steps, strategy: tf.distribute.Strategy
) -> Findings:
    """Tries the parts of a model that aren't Keras's, if there are any.

    Args:
        model: built.
        first: a few real examples, stacked; the same on every worker.
        steps: what the model's steps do.
        strategy: whose replicas hold the variables.

    Raises:
        ConfigError: a part can't be put together from those of replicas, or fails.
    """
    replicas = strategy.num_replicas_in_sync
    with strategy.scope():
        kinds = kinds_of(model, first, replicas=replicas)
        are_sums = numbers_are_sums(model, first, replicas=replicas)
        of_batch = depends_on_batch(model, first, replicas=replicas, are_sums=are_sums)
        near = averaged(model, first, steps.own_state, replicas=replicas)
    return Findings(kinds, are_sums, of_batch, near)
