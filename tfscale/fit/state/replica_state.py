"""What each replica keeps for itself, and how the replicas bring it together.

Weights are the same everywhere because gradients are summed. Batch statistics, random states and
outputs aren't: they are averaged, kept different on purpose, and gathered.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfscale.fit.metrics.packing import Packing
from tfscale.fit.state.assigned import assigned_within
from tfscale.gradients.all_reduce import sum_over_replicas
from tfscale.model.model_facts import RANDOM_STATE

_GOLDEN_RATIO_32 = 0x9E3779B9  # spreads consecutive numbers over the range of a uint32


class ReplicaStatistics:
    """The float variables that replicas update by themselves, such as batch statistics.

    Stock Keras 3 saves and evaluates those of the first replica; here they become the mean. What
    no replica assigns is the same everywhere, and stays where it is.

    Args:
        strategy: whose replicas hold the variables.
        variables: Keras variables that a traced step assigns.
    """

    def __init__(
        self, strategy: tf.distribute.Strategy, variables: Sequence[keras.Variable]
    ) -> None:
        self._strategy = strategy
        self._variables = list(variables)
        self.packing = Packing([variable.shape for variable in self._variables])

    @classmethod
    def of_step(cls, model: keras.Model, strategy: tf.distribute.Strategy) -> "ReplicaStatistics":
        """Those that the function which is being traced assigns, once it has a training step."""
        metrics = {id(variable) for variable in model.metrics_variables}
        candidates = [
            variable
            for variable in model.non_trainable_variables
            if tf.as_dtype(variable.dtype).is_floating and id(variable) not in metrics
        ]
        components = [
            strategy.experimental_local_results(variable.value)[0] for variable in candidates
        ]
        are_assigned = assigned_within(components)
        return cls(
            strategy, [v for v, is_it in zip(candidates, are_assigned, strict=True) if is_it]
        )

    def local(self) -> list[tf.Tensor]:
        """This replica's share of each mean; called in replica context."""
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        return [
            tf.cast(tf.convert_to_tensor(variable.value), tf.float64) / replicas
            for variable in self._variables
        ]

    def assign(self, means: Sequence[tf.Tensor]) -> None:
        """Gives every replica the means; called in cross-replica context."""
        if self._strategy.num_replicas_in_sync == 1:
            return
        for variable, mean in zip(self._variables, means, strict=True):
            for component in self._strategy.experimental_local_results(variable.value):
                component.assign(tf.cast(mean, component.dtype))


def random_states(model: keras.Model) -> list[keras.Variable]:
    """The states of a model's generators of random numbers."""
    return [one for one in model.non_trainable_variables if one.name == RANDOM_STATE]


def separate_random_states(
    states: Sequence[keras.Variable], strategy: tf.distribute.Strategy, worker: int
) -> None:
    """Gives every replica a random state of its own: dropout must differ between them.

    Replica 0 keeps the state it has, so that one replica trains as without a strategy.

    Args:
        states: uint32 (2,), as they are at the start.
        strategy: of the job.
        worker: rank of this one.
    """
    for variable in states:
        components = strategy.experimental_local_results(variable.value)
        for local, component in enumerate(components):
            replica = worker * len(components) + local
            component.assign(_state_of_replica(component.numpy(), replica))


def random_state_of(rows: np.ndarray, replicas: int) -> list[np.ndarray]:
    """Random states for another number of replicas, of those that there were: as at the start.

    Args:
        rows: uint32 (replicas before, 2).
        replicas: that there are now.
    """
    return [_state_of_replica(rows[0], replica) for replica in range(replicas)]


def _state_of_replica(first: np.ndarray, replica: int) -> np.ndarray:
    """A replica's random state, uint32 (2,): seed and counter, of what replica 0 has."""
    seed = (int(first[0]) + replica * _GOLDEN_RATIO_32) % 2**32
    return np.asarray([seed, int(first[1])], np.uint32)


def gather_replicas(rows: tf.Tensor) -> tf.Tensor:
    """The rows of all replicas in the order of their ids, on every replica.

    A sum in which each replica fills its own part: TensorFlow's `all_gather` fails in a function
    on a worker with one device ("destinations can not be empty").
    """
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync
    if replicas == 1:
        return rows
    is_small = not rows.dtype.is_floating and rows.dtype != tf.int64
    sent = tf.cast(rows, tf.int32) if is_small else rows
    shape = tf.concat([[replicas], tf.shape(sent)], axis=0)
    placed = tf.scatter_nd([[context.replica_id_in_sync_group]], sent[tf.newaxis], shape)
    summed = sum_over_replicas(placed)
    joined = tf.reshape(summed, tf.concat([[-1], tf.shape(sent)[1:]], axis=0))
    return tf.cast(joined, rows.dtype)
