"""What Keras's callbacks decide of a metric when they first see it: whether less is better."""

import keras

from tfscale.fit.keras.classes import is_kerass
from tfscale.structures import Foreign

# Who calls which: the stock `on_train_batch_end` calls `on_batch_end`.
_ALIASES = {"on_train_batch_end": ("on_batch_end",)}


def is_own(callback: keras.callbacks.Callback, hook: str) -> bool:
    """Whether somebody else than Keras has written what a callback does in a hook."""
    hooks = (hook, *_ALIASES.get(hook, ()))
    return any(not is_kerass(getattr(callback, one)) for one in hooks)


def watches(callback: Foreign) -> bool:
    """Whether it is one of Keras's that watch a metric, or derived from one."""
    return hasattr(callback, "_set_monitor_op")


def has_decided(callback: Foreign) -> bool:
    """Whether a callback that watches a metric has decided; False of anything else."""
    return getattr(callback, "monitor_op", None) is not None


def decide(callback: Foreign, model: keras.Model | None = None) -> None:
    """Lets it decide now, as it would at the end of its first epoch.

    It changes the sign of `min_delta` by that, so that it must not do so a second time.

    Args:
        callback: any.
        model: built; None where the callback has it already.

    Raises:
        ValueError: Keras can't tell of this metric, and nobody has said `mode`.
    """
    if not watches(callback) or has_decided(callback):
        return
    if model is not None:
        callback._model = model
    callback._set_monitor_op()
