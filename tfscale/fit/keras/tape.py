"""The one replaced `GradientTape.gradient`: it tells what a step derives, and may leave it out.

A tape tells nobody what it is asked for, and a `train_step` of the user's own need not ask Keras
for anything: what it derives is its loss, in any spelling.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator

import keras
import tensorflow as tf

from tfscale.structures import Foreign

_of_thread = threading.local()  # replicas of a worker are traced in threads of their own


@functools.cache
def install() -> None:
    """Replaces it for the whole process; outside of the bodies below nothing differs."""
    original = tf.GradientTape.gradient

    @functools.wraps(original)
    def gradient(
        self: tf.GradientTape, target: Foreign, sources: Foreign, *args: Foreign, **kwargs: Foreign
    ) -> Foreign:
        how = getattr(_of_thread, "how", None)
        if how is None:
            return original(self, target, sources, *args, **kwargs)
        tell, is_derived = how
        tell(target)
        if not is_derived:
            return keras.tree.map_structure(_zeros, sources)
        return original(self, target, sources, *args, **kwargs)

    tf.GradientTape.gradient = gradient


@contextlib.contextmanager
def targets_told(tell: Callable[[Foreign], None], *, are_derived: bool = True) -> Iterator[None]:
    """In the body, `tell` gets what this thread's tapes derive.

    Args:
        tell: gets the targets of each call.
        are_derived: False gives zeros for gradients: where nobody looks at them, and the variables
            that they are of aren't made yet, or would refuse.
    """
    before = getattr(_of_thread, "how", None)
    _of_thread.how = (tell, are_derived)
    try:
        yield
    finally:
        _of_thread.how = before


def _zeros(source: Foreign) -> tf.Tensor:
    if source.shape.is_fully_defined():
        return tf.zeros(source.shape, source.dtype)
    return tf.zeros_like(source)
