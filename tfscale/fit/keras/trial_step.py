"""A step of a model on a few real examples, of which nothing stays but what is told of it."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf

from tfscale.errors import ConfigError, one_line
from tfscale.fit.keras.loss_reduction import sharing
from tfscale.fit.keras.symbolic_step import regularized, without_updates
from tfscale.fit.keras.tape import targets_told
from tfscale.fit.loss_shares import RecordingShare
from tfscale.structures import Foreign, Structure


@dataclass
class Trial:
    """What a step did.

    Args:
        losses: what it took gradients of, in order.
        values: of the Keras variables that were asked for, by their ids.
        asks: how many denominators the losses would have asked all replicas for.
    """

    losses: list[float] = field(default_factory=list)
    values: dict[int, np.ndarray] = field(default_factory=dict)
    asks: int = 0

    def _derived(self, target: Foreign) -> None:
        if tf.is_tensor(target) and target.shape.num_elements() == 1:
            self.losses.append(float(target))


def try_step(
    step: Callable[[Structure], Foreign],
    batches: list[Structure],
    metrics: list[keras.metrics.Metric],
    *,
    variables: Sequence[keras.Variable] = (),
) -> Trial:
    """Takes a step on each batch, one after the other; called in the strategy's scope.

    Args:
        step: a bound `train_step` or `test_step`.
        batches: of real examples.
        metrics: which begin reset, and whose variables' values are wanted.
        variables: whose values are wanted too.
    """
    trial, share = Trial(), RecordingShare()
    with (
        keras.StatelessScope(regularized(step)) as scope,
        sharing(share),
        without_updates(),
    ):
        for metric in metrics:
            metric.reset_state()
        with targets_told(trial._derived, are_derived=False):
            for batch in batches:
                step(batch)
            trial.asks = len(share.denominators)
        for variable in [*variables, *(one for metric in metrics for one in metric.variables)]:
            value = scope.get_current_value(variable)
            # Not its `value`: NumPy can't read a scalar of several devices.
            known = variable if value is None else value
            trial.values[id(variable)] = keras.ops.convert_to_numpy(known).astype("float64")
    return trial


def halves_and_whole(first: Structure, *, dealt: bool = False) -> list[Structure]:
    """Three batches of real examples: two of equal size, and both in one; none of one example.

    Args:
        first: examples, stacked.
        dealt: whether the two have every other example, instead of the front and the back.
    """
    half = int(tf.shape(tf.nest.flatten(first)[0])[0]) // 2
    if not half:
        return []
    two = (
        (slice(0, 2 * half, 2), slice(1, 2 * half, 2))
        if dealt
        else (slice(half), slice(half, 2 * half))
    )
    slices = (*two, slice(2 * half))
    return [tf.nest.map_structure(lambda leaf, at=at: leaf[at], first) for at in slices]


@contextlib.contextmanager
def refused_if_it_fails(what: str, expected: str) -> Iterator[None]:
    """Says in one line what was tried in the body, where that raises.

    Args:
        what: was tried, the subject of the line.
        expected: what would not have failed, and what to do.

    Raises:
        ConfigError: the body raised, with its own words where it has some.
    """
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"{what} raised {one_line(error)}; expected {expected}") from error
