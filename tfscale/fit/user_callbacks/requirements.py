"""What Keras's callbacks need beside figures: averaged weights, a package, a place to write to.

Keras raises where one lacks, at the end of an epoch or when training begins: too late, and as a
failure after which a supervisor tries again.
"""

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

import keras

from tfscale.errors import ConfigError
from tfscale.fit.keras.monitor_direction import is_own

_REMOTE = "://"


def require_needs(
    callbacks: Sequence[keras.callbacks.Callback], model: keras.Model, name: str
) -> None:
    """Refuses callbacks that are bound to fail on any worker.

    Args:
        callbacks: the user's.
        model: compiled.
        name: how to name the model file.

    Raises:
        ConfigError: averages that no optimizer keeps, or a package that isn't installed.
    """
    for callback in callbacks:
        came = f"{name}: callbacks() has {type(callback).__name__}"
        if isinstance(callback, keras.callbacks.SwapEMAWeights) and not _averages(model):
            raise ConfigError(
                f"{came}, but the model's optimizer averages no weights; expected one with "
                "use_ema=True. Compile the model with it, or leave the callback out."
            )
        if isinstance(callback, keras.callbacks.RemoteMonitor) and not is_own(
            callback, "on_epoch_end"
        ):
            if importlib.util.find_spec("requests") is None:
                raise ConfigError(
                    f"{came}, which needs the package requests; expected it. Install it with: "
                    "pip install requests"
                )


def _averages(model: keras.Model) -> bool:
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return any(getattr(one, "use_ema", False) for one in getattr(inner, "optimizers", [inner]))


def require_places(callbacks: Sequence[keras.callbacks.Callback], run_dir: Path, name: str) -> None:
    """Refuses files that can't be written where they are wanted; for the chief, whose files stay.

    Args:
        callbacks: the user's.
        run_dir: which is made before they write.
        name: how to name the model file.

    Raises:
        ConfigError: a folder lacks, is a file, or can't be written to, or a file is a folder.
    """
    for callback in callbacks:
        came = f"{name}: callbacks() has {type(callback).__name__}"
        if isinstance(callback, keras.callbacks.ModelCheckpoint):
            _require_file(callback.filepath, came, makes_folders=True, run_dir=run_dir)
        elif isinstance(callback, keras.callbacks.TensorBoard):
            _require_folder(Path(callback.log_dir), came)
        elif isinstance(callback, keras.callbacks.CSVLogger):
            makes = is_own(callback, "on_train_begin")
            _require_file(callback.filename, came, makes_folders=makes, run_dir=run_dir)


def _require_file(path: str, came: str, *, makes_folders: bool, run_dir: Path) -> None:
    if _REMOTE in path:
        return
    fixed, brace, _ = path.partition("{")
    folder = Path(os.path.dirname(fixed) or ".")
    # Keras saves beside the file and renames, or writes over it: both need the folder.
    if not brace and Path(path).is_dir():
        raise ConfigError(
            f"{came}, whose file {path} is a folder; expected a file. Name one in it."
        )
    is_made = makes_folders or folder.absolute().is_relative_to(run_dir.absolute())
    if not folder.exists() and not is_made:
        raise ConfigError(
            f"{came}, which writes to {path}, whose folder isn't there; expected it. "
            f"Make it with: mkdir -p {folder}"
        )
    _require_folder(folder, came)


def _require_folder(folder: Path, came: str) -> None:
    if _REMOTE in str(folder):
        return
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        reason = "can't be written to" if there.is_dir() else "is no folder"
        raise ConfigError(
            f"{came}, which writes to {folder}, but {there} {reason}; expected a folder of yours. "
            "Name another one."
        )
