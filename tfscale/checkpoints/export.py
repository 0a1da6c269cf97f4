"""The trained model as a file, and the hash of its weights."""

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfscale.checkpoints.rehearsal import (
    FILES,
    UNCOMPILED,
    WEIGHTS,
    WHOLE,
    Way,
    leave_out_compilation,
)
from tfscale.errors import ConfigError, one_line
from tfscale.files import atomic
from tfscale.files.run_directory import RunDirectory
from tfscale.model.weights import weights_bytes

ARRAYS = "model.weights.npz"  # the last resort: what model.set_weights takes


@dataclass(frozen=True)
class Saved:
    """What was written.

    Args:
        file: name in the run directory; empty for nothing.
        problem: why it isn't the file that was planned; None if it is.
    """

    file: str
    problem: ConfigError | None = None


def save(model: keras.Model, directory: RunDirectory, way: Way) -> Saved:
    """Saves as much of a model as can be saved, on every worker, and keeps the chief's file.

    All take part because reading a variable may be a collective; the others' files are thrown
    away. What was trained must not be lost because a part of it can't be written: after a failure
    that isn't the disk's, the next lesser file is tried.

    Args:
        model: the trained one.
        directory: of the run.
        way: what `rehearse` has found out.
    """
    if way.kind == UNCOMPILED:
        leave_out_compilation(model)
    attempts: dict[str, Callable[[Path], None]] = {
        FILES[WHOLE]: model.save,
        FILES[WEIGHTS]: model.save_weights,
        ARRAYS: lambda path: save_arrays(path, model.get_weights()),
    }
    problem: ConfigError | None = None
    for name, write in attempts.items():
        if way.kind == WEIGHTS and name == FILES[WHOLE]:
            continue
        try:
            _write(directory, name, write)
        except Exception as error:  # whatever a user's layer raises while it is saved
            if isinstance(error, OSError) and error.errno is not None:
                return Saved("", problem or _disk_problem(directory.path / name, error))
            problem = problem or ConfigError(
                f"{directory.path / name} can't be written ({one_line(error)}); expected layers "
                "that save what they hold. The weights and report.json are in the run directory."
            )
        else:
            return Saved(name, problem)
    return Saved("", problem)


def _write(directory: RunDirectory, name: str, write: Callable[[Path], None]) -> None:
    if directory.is_chief:
        # Keras tells by its ending what to write; it is the last part of the temporary name too.
        with atomic.replacing(directory.path / name) as temporary:
            write(temporary)
    else:
        with tempfile.TemporaryDirectory(prefix="tfscale-") as folder:
            write(Path(folder) / name)


def _disk_problem(target: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{target} can't be written ({error.strerror}); expected room and permission for it. "
        "Make room, or use another --run_dir."
    )


def save_arrays(path: Path, weights: list[np.ndarray]) -> None:
    """Writes weights by their number, in the order that `model.set_weights` wants.

    Raises:
        OSError: it couldn't be written.
    """
    # NumPy's files don't know the 16-bit and smaller floats of accelerators.
    known = [w.astype(np.float32) if w.dtype.kind == "V" else w for w in weights]
    named: dict[str, Any] = {str(number): weight for number, weight in enumerate(known)}
    with path.open("wb") as file:
        np.savez(file, **named)


def weights_sha256(model: keras.Model) -> str:
    """SHA-256 of all weights in the model's order, each as its bytes in C order."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def model_bytes(model: keras.Model) -> int:
    """About how large `model.keras` is going to be: weights and the optimizer's variables."""
    optimizer = model.optimizer
    return weights_bytes([*model.weights, *(optimizer.variables if optimizer else [])])
