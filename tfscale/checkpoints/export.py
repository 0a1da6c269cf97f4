"""The trained model as a file, and the hash of its weights."""

import contextlib
import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfscale.checkpoints.savability import (
    FILES,
    UNCOMPILED,
    WEIGHTS,
    WHOLE,
    SavingWay,
    leave_out_compilation,
)
from tfscale.errors import ConfigError, one_line
from tfscale.files.run_directory import RunDirectory, reason_of
from tfscale.model.model_facts import weights_bytes

ARRAYS = "model.weights.npz"  # the last resort: what model.set_weights takes


@dataclass(frozen=True)
class Saved:
    """What was written.

    Args:
        path: of the file on the chief, and where it would be on the others; None for nothing.
        problem: why it isn't the file that was planned; None if it is, and on the others.
    """

    path: Path | None
    problem: ConfigError | None = None

    @property
    def file(self) -> str:
        """Its name; empty for nothing."""
        return self.path.name if self.path else ""


def save(model: keras.Model, directory: RunDirectory, way: SavingWay) -> Saved:
    """Saves as much of a model as can be saved, on every worker, and keeps the chief's file.

    All take part because reading a variable may be a collective; the others' files are thrown
    away. What was trained must not be lost because a part of it can't be written: after a failure
    the next lesser file is tried. Where the chief's disk fails it tries each file again elsewhere,
    alone: outside of the strategy's scope Keras's variables are read without the others.

    Args:
        model: the trained one.
        directory: of the run.
        way: what `find_saving_way` has found out.
    """
    if way.kind == UNCOMPILED:
        leave_out_compilation(model)
    attempts: dict[str, Callable[[Path], None]] = {
        FILES[WHOLE]: model.save,
        FILES[WEIGHTS]: model.save_weights,
        ARRAYS: lambda path: save_arrays(path, model.get_weights()),
    }
    problem: ConfigError | None = None
    if way.kind == WEIGHTS:
        del attempts[FILES[WHOLE]]
    is_full = False
    for name, write in attempts.items():
        # HDF5 can't close a file that the disk doesn't take: what is left of it fails later.
        if is_full and name != ARRAYS:
            continue
        try:
            if not directory.is_chief:
                _throw_away(name, write)
                return Saved(directory.path / name)
            path = directory.write(name, write)
            if name != ARRAYS:
                _remove_rescued(path.with_name(ARRAYS))
            return Saved(path, problem)
        except Exception as error:  # whatever a user's layer raises while it is saved
            is_full = isinstance(error, OSError)
            problem = problem or _problem(directory.path / name, error)
    return Saved(None, problem if directory.is_chief else None)


def told(saved: Saved, directory: RunDirectory, load_command: str) -> ConfigError | None:
    """What has to be said in the end of files that aren't what they should be, or not where.

    Args:
        saved: what became of the model.
        directory: of the run, to which everything was written.
        load_command: how to load what there is; empty for nothing.
    """
    problems = [str(one) for one in (saved.problem, directory.problem) if one is not None]
    if not problems:
        return None
    load = f"To load the model: {load_command}" if saved.path and load_command else ""
    return ConfigError(" ".join([*problems, *([load] if load else [])]))


def _remove_rescued(path: Path) -> None:
    """Removes the weights that an earlier start of the run has left when it failed."""
    with contextlib.suppress(OSError):
        path.unlink()


def _throw_away(name: str, write: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory(prefix="tfscale-") as folder:
        write(Path(folder) / name)


def _problem(target: Path, error: Exception) -> ConfigError:
    if isinstance(error, OSError) and error.errno is not None:
        return ConfigError(
            f"{target} can't be written ({reason_of(error)}); expected room and permission for "
            "it. Make room, or use another --run_dir."
        )
    return ConfigError(
        f"{target} can't be written ({one_line(error)}); expected layers that save what they "
        "hold. The weights and report.json stay."
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
