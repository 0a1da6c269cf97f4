"""The callbacks that a model file asks for: which run where, with one worker's files."""

from collections.abc import Sequence
from pathlib import Path

import keras

from tfscale.errors import ConfigError, one_line
from tfscale.model.model_file import ModelFile

# Where Keras's callbacks keep the path they write to (keras 3.15.1).
_PATH_ATTRIBUTES = (
    "filepath",
    "filename",
    "log_dir",
    "directory",
)

# What these do is a function of what every worker has: they decide the same everywhere, or save,
# for which their paths are turned aside. Callback has no code; LambdaCallback has the user's.
_KERAS = "keras."
_ON_CHIEF = ("Callback", "LambdaCallback", "RemoteMonitor")


def runs_everywhere(callback: keras.callbacks.Callback) -> bool:
    """Whether a callback runs on every worker; else it runs on the chief alone.

    Keras's own do, and what is derived from one of them, except for those which only post or hold
    the user's functions. The user's own do where their attribute `everywhere` says so.
    """
    said = getattr(callback, "everywhere", None)
    if said is not None:
        return bool(said)
    kerass = next(kind for kind in type(callback).__mro__ if kind.__module__.startswith(_KERAS))
    return kerass.__name__ not in _ON_CHIEF


def own_callbacks(model_file: ModelFile) -> list[keras.callbacks.Callback]:
    """Makes the callbacks that the user's file asks for.

    Raises:
        ConfigError: it failed, gave something else, or asks for Keras's BackupAndRestore, which
            restores the epoch but neither the step nor the position in the data.
    """
    call = f"{model_file.name}: callbacks()"
    try:
        callbacks = list(model_file.callbacks())
    except Exception as error:
        raise ConfigError(f"{call} raised {one_line(error)}") from error
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            raise ConfigError(f"{call} gives {callback!r}; expected Keras 3 callbacks.")
        if isinstance(callback, keras.callbacks.BackupAndRestore):
            raise ConfigError(
                f"{call} has a BackupAndRestore, which would resume at another step and other data "
                "than where the run stopped; expected none. Leave it out."
            )
    return callbacks


def write_to_scratch(callbacks: Sequence[keras.callbacks.Callback], scratch: Path | None) -> None:
    """Turns every path that a callback writes to into one below `scratch`; None leaves them.

    What runs on all workers does so because it decides or may be collective (saving, evaluating);
    the chief's files are the ones that count.
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
