"""Sums over all replicas, of what nobody derives."""

import tensorflow as tf

from tfscale.structures import Foreign


def sum_over_replicas(value: Foreign) -> Foreign:
    """The sum over all replicas of a tensor, or of rows; called in replica context.

    TensorFlow's own `ReplicaContext.all_reduce` gives each sum a gradient, under a name in a table
    that is never emptied and that holds the whole graph of the step: 12 MiB for each training of a
    process on two devices, of a small model. What is summed here (gradients, totals, statistics) is
    derived by nobody; who does needs TensorFlow's.
    """

    def of_all(strategy: tf.distribute.Strategy, values: Foreign) -> Foreign:
        place = values.device if isinstance(values, tf.Tensor) else values  # of one replica alone
        (total,) = strategy.extended.batch_reduce_to(tf.distribute.ReduceOp.SUM, [(values, place)])
        return total

    return tf.distribute.get_replica_context().merge_call(of_all, args=(value,))
