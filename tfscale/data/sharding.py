"""Which example goes where: the one global order of an epoch, and each replica's part of it.

An epoch's order is a function of seed and epoch alone. Every step takes the next `global_batch`
examples of it, and each replica its contiguous part of them. Nothing here depends on how many
workers there are except who computes which part, so the result of a step doesn't either, and the
position of a run is its number of steps.
"""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.structures import Structure

# What refuses an example of an index, or a stack of examples of as many, and else gives it back.
Check = Callable[[Structure, tf.Tensor], Structure]


@dataclass(frozen=True)
class Places:
    """Where a worker's next records are, in the order in which it takes them.

    Args:
        elements: something cheap for each record.
        fetch: of the parts of such an element makes `(record, index, epoch)`; the index, an int64
            scalar, tells the record from all others, and so does the epoch its passes.
        index_of: makes the index of the first part of an element, where it isn't the index.
    """

    elements: tf.data.Dataset
    fetch: Callable[..., tuple[Structure, tf.Tensor, tf.Tensor]]
    index_of: Callable[[tf.Tensor], tf.Tensor] = tf.identity


@dataclass(frozen=True)
class Sharding:
    """How a global batch is spread.

    Args:
        global_batch: examples per step over all replicas.
        num_workers: processes of the job.
        worker: global rank of this one.
        local_replicas: replicas of each worker.

    Raises:
        ConfigError: the batch can't be split evenly.
    """

    global_batch: int
    num_workers: int
    worker: int
    local_replicas: int

    def __post_init__(self) -> None:
        """Refuses a batch that can't be split evenly over the replicas."""
        if self.global_batch % self.num_replicas:
            fitting = -(-self.global_batch // self.num_replicas) * self.num_replicas
            raise ConfigError(
                f"--batch_size={self.global_batch} cannot be split over {self.num_replicas} "
                f"replicas ({self.num_workers} workers x {self.local_replicas} devices). Use a "
                f"multiple of {self.num_replicas}, for example --batch_size={fitting}."
            )

    @property
    def num_replicas(self) -> int:
        """Replicas of the job."""
        return self.num_workers * self.local_replicas

    @property
    def replica_batch(self) -> int:
        """Examples per step of one replica."""
        return self.global_batch // self.num_replicas

    @property
    def worker_batch(self) -> int:
        """Examples per step of one worker."""
        return self.replica_batch * self.local_replicas

    def own_batches(self, order: tf.Tensor) -> tf.Tensor:
        """This worker's replica batches of a pass, step by step and in a step replica by replica.

        Args:
            order: int64 (n,), all examples of the pass.

        Returns:
            int64 (steps x local replicas, replica_batch): what `positions` says, of all steps.
        """
        steps = tf.size(order) // self.global_batch
        shape = [steps, self.num_workers, self.local_replicas, self.replica_batch]
        of_workers = tf.reshape(order[: steps * self.global_batch], shape)
        return tf.reshape(of_workers[:, self.worker], [-1, self.replica_batch])

    def positions(self, batch_number: tf.Tensor) -> tf.Tensor:
        """Where in the endless global order one of this worker's replica batches lies.

        Args:
            batch_number: int64 scalar; counts this worker's replica batches, step by step and in
                a step replica by replica.

        Returns:
            int64 (replica_batch,): positions counted from the start of the run.
        """
        step = batch_number // self.local_replicas
        replica = self.worker * self.local_replicas + batch_number % self.local_replicas
        first = step * self.global_batch + replica * self.replica_batch
        return first + tf.range(self.replica_batch, dtype=tf.int64)


def shuffled(
    positions: tf.Tensor, *, num_examples: int, global_batch: int, seed: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Which examples lie at positions of the endless order, and in which pass over the data.

    A pass takes as many whole global batches as the examples give; which ones are left over
    differs from pass to pass.

    Args:
        positions: int64 (n,), counted from the start of the run.
        num_examples: size of the data set, at least `global_batch`.
        global_batch: examples per step.
        seed: of the run.

    Returns:
        `(index, epoch)`, both int64 (n,); index in 0..num_examples-1.
    """
    pass_length = num_examples // global_batch * global_batch
    epochs = positions // pass_length
    within = positions % pass_length
    # A replica batch lies within one step and so within one pass.
    return tf.gather(pass_order(epochs[0], num_examples=num_examples, seed=seed), within), epochs


def pass_order(epoch: tf.Tensor, *, num_examples: int, seed: int) -> tf.Tensor:
    """All examples in the order of one pass, which seed and epoch alone decide.

    A list, because TensorFlow's permutation without one (`index_shuffle`) takes 15 us an example
    where this takes 0.1.

    Args:
        epoch: int64 scalar, the number of the pass.
        num_examples: size of the data set.
        seed: of the run.

    Returns:
        int64 (num_examples,).
    """
    numbers = tf.range(num_examples, dtype=tf.int64)
    both = tf.stack([tf.constant(seed, tf.int64), epoch])
    return tf.random.experimental.stateless_shuffle(numbers, both)
