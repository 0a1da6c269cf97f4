"""What Keras's callbacks decide of a metric when they first see it: whether less is better."""

import keras


def has_decided(callback: keras.callbacks.Callback) -> bool:
    """Whether a callback that watches a metric has decided; False of any other callback."""
    return getattr(callback, "monitor_op", None) is not None


def decide(callback: keras.callbacks.Callback) -> None:
    """Lets it decide now, as it would at the end of its first epoch.

    It changes the sign of `min_delta` by that, so that it must not do so a second time.
    """
    if hasattr(callback, "_set_monitor_op") and not has_decided(callback):
        callback._set_monitor_op()
