"""Where a step that isn't finite goes wrong: it is taken once more, and every output is looked at.

All replicas take it together, with the weights that they have now; nothing is updated.
"""

import contextlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfscale.data.feed import Input
from tfscale.fit.distributed_model import DistributedModel
from tfscale.fit.guards.finite_weights import is_finite
from tfscale.fit.keras.layers import layers_within, outputs_recorded
from tfscale.fit.keras.loss_reduction import sharing
from tfscale.fit.keras.traced_losses import all_finite, is_here, noting
from tfscale.fit.loss_shares import RecordingShare
from tfscale.structures import Foreign, Structure

_PARTS = ("x", "y", "the sample weights")


@tf.autograph.experimental.do_not_convert  # the user's functions come converted
def causes(
    distributed: DistributedModel,
    strategy: tf.distribute.Strategy,
    data: Input,
    step: int,
    bad_weight: str,
) -> list[str]:
    """What is the first that isn't finite on each replica of this worker; "" where all is.

    Args:
        distributed: what trains, as it was before the step.
        strategy: whose replicas take the step; called on all workers.
        data: the training batches.
        step: steps of the run before it.
        bad_weight: path of one that isn't finite already; "" where all are.
    """
    replicas = len(strategy.extended.worker_devices)
    batches = list(data.make(step).take(replicas))
    found = [_of_batch(batch) for batch in batches]
    if any(found):
        return found  # what comes of it is no news
    if bad_weight:
        return [f"weight {bad_weight} is the first that isn't finite any more"] * replicas
    names: list[str] = []

    def on_replica(batch: Structure) -> tf.Tensor:
        flags = _examine(distributed, batch)
        names[:] = [name for name, _ in flags]
        return tf.stack([flag for _, flag in flags])

    @tf.function(autograph=False)
    def once(values: Structure) -> Structure:
        return strategy.run(on_replica, args=(values,))

    values = strategy.experimental_distribute_values_from_function(
        lambda context: batches[context.replica_id_in_sync_group % replicas]
    )
    results = strategy.experimental_local_results(once(values))
    return [_first(names, flags.numpy()) for flags in results]


def _first(names: Sequence[str], flags: np.ndarray) -> str:
    return next((name for name, is_fine in zip(names, flags, strict=True) if not is_fine), "")


def _of_batch(batch: Structure) -> str:
    for name, part in zip(_PARTS, batch, strict=False):
        for leaf in tf.nest.flatten(part):
            if leaf.dtype.is_floating and not is_finite(leaf):
                return f"{name} of its batch isn't finite"
    return ""


def _examine(distributed: DistributedModel, batch: Structure) -> list[tuple[str, tf.Tensor]]:
    """Takes a step without an update; gives what came up in it, and whether that is finite."""
    model = distributed.model
    with contextlib.ExitStack() as stack:
        stack.enter_context(sharing(RecordingShare()))
        held = [stack.enter_context(update.held()) for update in distributed.parts.updates]
        outputs = stack.enter_context(outputs_recorded(layers_within(model)))
        noted = stack.enter_context(noting())
        model.train_step(batch)
        loss = noted.loss()
    found = [
        (
            f"the first output that isn't is that of layer {layer.name} ({type(layer).__name__})",
            values,
        )
        for layer, values in outputs
    ]
    if loss is not None:
        found.append(("every layer's output is finite, and their loss isn't", [loss]))
    for gradients, variables in (one for of_optimizer in held for one in of_optimizer):
        known = model.trainable_variables if variables is None else variables
        # From the loss backwards, as they are computed.
        for gradient, variable in reversed(list(zip(gradients, known, strict=True))):
            if gradient is not None:
                path = getattr(variable, "path", variable.name)
                name = f"the loss is finite, and the gradient of {path} isn't"
                found.append((name, [gradient]))
    flags = [(name, _are_finite(values)) for name, values in found]
    return flags or [("", tf.constant(True))]


def _are_finite(values: Sequence[Foreign]) -> tf.Tensor:
    dense = [one.values if isinstance(one, tf.IndexedSlices) else one for one in values]
    return all_finite([one for one in dense if isinstance(one, tf.Tensor) and is_here(one)])
