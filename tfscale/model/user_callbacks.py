"""The callbacks that a model file asks for: which run where, with one worker's files."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import keras

from tfscale.errors import ConfigError, one_line
from tfscale.model.learning_rate import LearningRate, rate_of
from tfscale.model.model_file import ModelFile

# Where Keras's callbacks keep the path they write to (keras 3.15.1).
_PATH_ATTRIBUTES = (
    "filepath",
    "filename",
    "log_dir",
    "directory",
)
# What sets `optimizer.learning_rate`, which Keras refuses where a schedule has it.
_SET_THE_RATE = (keras.callbacks.ReduceLROnPlateau, keras.callbacks.LearningRateScheduler)
RATE_FLAGS = "--schedule=constant --warmup_fraction=0"

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


def require_settable_rate(
    callbacks: Sequence[keras.callbacks.Callback], model: keras.Model, rate: object, name: str
) -> None:
    """Refuses callbacks that set the learning rate where a schedule has it.

    Keras would raise when they first do, which may be after days.

    Args:
        callbacks: the user's.
        model: compiled.
        rate: what the run's learning rate is; a `LearningRate` if it follows the flags.
        name: how to name the model file.

    Raises:
        ConfigError: one of Keras's own is among them. What a callback of the user's own sets
            only shows when it does.
    """
    setting = [type(one).__name__ for one in callbacks if isinstance(one, _SET_THE_RATE)]
    if not setting or _is_settable(model.optimizer):
        return
    came = f"{name}: callbacks() has {setting[0]}, which sets the learning rate"
    if isinstance(rate, LearningRate):
        raise ConfigError(
            f"{came}, but the schedule of the flags does (--schedule={rate.schedule}, "
            f"{rate.warmup_steps} steps of warm-up); expected one of them. Add {RATE_FLAGS}, or "
            "leave the callback out."
        )
    raise ConfigError(
        f"{came}, but the model is compiled with a schedule; expected one of them. Compile it with "
        "a number as the learning rate, or leave the callback out."
    )


def _is_settable(optimizer: keras.optimizers.Optimizer | None) -> bool:
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    every = getattr(inner, "optimizers", [inner])  # MultiOptimizer has several
    return all(isinstance(rate_of(one), float) for one in every if one is not None)


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


def append_to_files(callbacks: Sequence[keras.callbacks.Callback], epoch: int) -> None:
    """Lets the files of a resumed run be continued, from the beginning of an epoch.

    A CSVLogger would begin its file anew, or repeat the epochs that come again.

    Args:
        callbacks: the user's.
        epoch: the first one that comes, from 0.
    """
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.CSVLogger):
            continue
        callback.append = True
        path = Path(callback.filename)
        with contextlib.suppress(OSError):
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            first = [line.partition(callback.sep)[0] for line in lines]
            kept = [
                line
                for line, number in zip(lines, first, strict=True)
                if not number.isdigit() or int(number) < epoch
            ]
            path.write_text("".join(kept), encoding="utf-8")
