"""Keeps the user's own callbacks from writing the same file on every worker."""

from collections.abc import Sequence
from pathlib import Path

import keras

# Where Keras's callbacks keep the path they write to (keras 3.15.1).
_PATH_ATTRIBUTES = (
    "filepath",
    "filename",
    "log_dir",
    "directory",
)


def write_to_scratch(callbacks: Sequence[keras.callbacks.Callback], scratch: Path | None) -> None:
    """Turns every path that a callback writes to into one below `scratch`; None leaves them.

    All workers run the callbacks, because what they do may be collective (saving, evaluating); the
    chief's files are the ones that count.
    """
    if scratch is None:
        return
    for number, callback in enumerate(callbacks):
        for name in _PATH_ATTRIBUTES:
            value = getattr(callback, name, None)
            if isinstance(value, str | Path):
                path = scratch / str(number) / Path(value).name
                path.parent.mkdir(parents=True, exist_ok=True)
                setattr(callback, name, type(value)(path))
