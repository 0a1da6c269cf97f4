"""A step in a graph that nobody runs: it builds what is built late, and tells what it does.

Keras builds a model by calling it, and its metrics and losses from what comes out. A model without
`call`, with optimizers of its own or with metrics that are built at their first update is built by
its first step only; inside a loop on the device that would be too late, and replicas would each
build for themselves. In a rehearsal nothing is assigned, no gradient is computed and no optimizer
updates; variables are made when it is over, in the scope of the strategy.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import keras
import tensorflow as tf

from tfscale.fit.keras.loss_reduction import sharing
from tfscale.fit.keras.tape import targets_told
from tfscale.fit.loss_shares import RecordingShare
from tfscale.structures import Foreign, Spec


@dataclass
class SymbolicStep:
    """What a step does.

    Args:
        logs: shape of what it returns, by name; empty where that is no dict.
        optimizers: that it updates with, each once, the outermost ones.
        updated: ids of the Keras variables that it assigns, but for what optimizers assign.
        asks: how many denominators of losses only all replicas together know.
    """

    logs: dict[str, tf.TensorShape] = field(default_factory=dict)
    optimizers: list[keras.optimizers.Optimizer] = field(default_factory=list)
    updated: set[int] = field(default_factory=set)
    asks: int = 0


def trace_symbolically(step: Callable[[Foreign], Foreign], spec: Spec) -> SymbolicStep:
    """Calls a model's `train_step` or `test_step`; called in the strategy's scope.

    Args:
        step: a bound method of the model.
        spec: of one replica's batch.

    Raises:
        Exception: whatever the step raises.
    """
    found = SymbolicStep()
    updated: list[list[keras.Variable]] = []
    share = RecordingShare()
    scopes = keras.SymbolicScope(), without_updates(found, updated), sharing(share)
    known = regularized(step)
    with keras.StatelessScope(known) as scope, scopes[0], scopes[1], scopes[2]:
        graph = tf.__internal__.FuncGraph("rehearsal")
        # Variables that aren't made yet have no gradients, and nobody looks at them.
        with graph.as_default(), targets_told(lambda _: None, are_derived=False):
            batch = tf.nest.map_structure(
                lambda leaf: tf.compat.v1.placeholder(leaf.dtype, leaf.shape), spec
            )
            returned = step(batch)
            shown = flat_logs(returned)
            found.logs = {name: tf.convert_to_tensor(v).shape for name, v in shown.items()}
        found.asks = len(share.denominators)
        found.updated = set(scope.state_mapping) - {id(variable) for variable, _ in known}
    for optimizer, variables in zip(found.optimizers, updated, strict=True):
        if not optimizer.built:
            with keras.name_scope(optimizer.name, caller=optimizer):
                optimizer.build(variables)
            optimizer.built = True
    return found


def regularized(step: Callable[[Foreign], Foreign]) -> list[tuple[keras.Variable, Foreign]]:
    """The weights whose values Keras asks a stateless scope for, and has no other way to get."""
    model: Foreign = getattr(step, "__self__", None)
    variables = [] if model is None else model.trainable_variables
    return [(one, one.value) for one in variables if one.regularizer is not None]


def flat_logs(logs: Foreign) -> dict[str, Foreign]:
    """What a step returned, by the names under which Keras shows it."""
    if not isinstance(logs, dict):
        return {}
    flat: dict[str, Foreign] = {}
    for name, value in logs.items():
        flat |= flat_logs(value) if isinstance(value, dict) else {name: value}
    return flat


@contextlib.contextmanager
def without_updates(
    found: SymbolicStep | None = None, updated: list[list[keras.Variable]] | None = None
) -> Iterator[None]:
    """In the body, optimizers update nothing; which are applied to what may be written down.

    Args:
        found: gets the optimizers.
        updated: gets the variables of each.
    """

    def apply(
        self: keras.optimizers.Optimizer, grads: Foreign, trainable_variables: Foreign = None
    ) -> None:
        if found is None or updated is None:
            return
        if not any(self is known for known in found.optimizers):
            found.optimizers.append(self)
            updated.append(list(trainable_variables or []))

    originals = [(kind, vars(kind)["apply"]) for kind in _applying()]
    for kind, _ in originals:
        kind.apply = apply
    try:
        yield
    finally:
        for kind, original in originals:
            kind.apply = original


def _applying() -> set[Foreign]:
    """The classes that say what an update is, of all optimizers that there are, the user's too."""
    kinds: list[Foreign] = [keras.optimizers.Optimizer]
    for kind in kinds:
        kinds += [below for below in kind.__subclasses__() if below not in kinds]
    return {one for kind in kinds for one in kind.__mro__ if "apply" in vars(one)}
