"""What a training step derives (see `tape`) and what it updates with, noted while it is traced."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import keras
import tensorflow as tf

from tfscale.fit.keras.tape import targets_told
from tfscale.structures import Foreign, Gradient

_of_thread = threading.local()  # replicas of a worker are traced in threads of their own


@dataclass
class Noted:
    """What one step does.

    Args:
        losses: that it derives, as they were before an optimizer scaled them.
        gradients: reduced, of optimizers that don't look after overflows themselves.
    """

    losses: list[tf.Tensor] = field(default_factory=list)
    gradients: list[tf.Tensor] = field(default_factory=list)
    _scaled: list[tuple[tf.Tensor, tf.Tensor]] = field(default_factory=list)

    def loss(self) -> tf.Tensor | None:
        """The sum of the losses, a float32 scalar; None where the graph being traced has none.

        What was derived in a conditional's or a function's own graph can't be had here.
        """
        here = [one for one in self.losses if is_here(one)]
        # A vector is derived within a loss, for a penalty on its gradient.
        chosen = [one for one in here if one.shape.rank == 0] or here
        if not chosen:
            return None
        floats = [tf.cast(one, tf.float32) for one in chosen]
        sums = [one if one.shape.rank == 0 else tf.reduce_sum(one) for one in floats]
        return sums[0] if len(sums) == 1 else tf.add_n(sums)

    def are_gradients_finite(self) -> tf.Tensor:
        """Whether all gradients are finite, a bool scalar."""
        return all_finite([one for one in self.gradients if is_here(one)])

    def _derived(self, targets: Foreign) -> None:
        self.losses += [
            self._unscaled(one)
            for one in keras.tree.flatten(targets)
            if isinstance(one, tf.Tensor) and one.dtype.is_floating
        ]

    def _unscaled(self, target: tf.Tensor) -> tf.Tensor:
        return next((loss for scaled, loss in self._scaled if scaled is target), target)


@contextlib.contextmanager
def noting() -> Iterator[Noted]:
    """Notes in the body what this thread's step does."""
    before, noted = _current(), Noted()
    _of_thread.noted = noted
    try:
        with targets_told(noted._derived):
            yield noted
    finally:
        _of_thread.noted = before


def note_loss(loss: tf.Tensor) -> None:
    """Notes a loss that was derived out of sight."""
    noted = _current()
    if noted is not None:
        noted.losses.append(loss)


def note_gradients(gradients: Sequence[Gradient]) -> None:
    """Notes what an optimizer is about to apply."""
    noted = _current()
    if noted is not None:
        given = [one for one in gradients if one is not None]
        noted.gradients += [
            one.values if isinstance(one, tf.IndexedSlices) else one for one in given
        ]


def note_scaled(scaled: tf.Tensor, loss: tf.Tensor) -> None:
    """Notes what an optimizer has made of a loss: it may overflow, and that is no fault."""
    noted = _current()
    if noted is not None:
        noted._scaled.append((scaled, loss))


def _current() -> Noted | None:
    noted: Noted | None = getattr(_of_thread, "noted", None)
    return noted


def all_finite(values: Sequence[Foreign]) -> tf.Tensor:
    """Whether all tensors or variables are finite as far as they are floats, a bool scalar."""
    floats = [tf.convert_to_tensor(one) for one in values if one.dtype.is_floating]
    found = [tf.reduce_all(tf.math.is_finite(one)) for one in floats]
    return tf.reduce_all(tf.stack(found)) if found else tf.constant(True)


def is_here(tensor: tf.Tensor) -> bool:
    """Whether the graph that is being traced has it."""
    return tf.executing_eagerly() or tensor.graph is tf.compat.v1.get_default_graph()
