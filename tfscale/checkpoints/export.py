"""The trained model as one file that plain Keras loads, and the hash of its weights."""

import hashlib
import tempfile
from pathlib import Path

import keras
import numpy as np

from tfscale.errors import ConfigError
from tfscale.files import atomic
from tfscale.files.run_directory import RunDirectory
from tfscale.model.weights import weights_bytes


def save_model(model: keras.Model, directory: RunDirectory) -> Path:
    """Saves the model on every worker and keeps the chief's file.

    All take part because reading a variable may be a collective; the others' files are thrown away.
    An optimizer that plain Keras doesn't know stays out of the file, so that it loads there.

    Returns:
        `model.keras` of the run directory.
    """
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not type(optimizer).__module__.startswith("keras."):
        model.get_compile_config = lambda: None
    target = directory.path / "model.keras"
    if not directory.is_chief:
        with tempfile.TemporaryDirectory(prefix="tfscale-") as folder:
            model.save(Path(folder) / "model.keras")
        return target
    try:
        with atomic.replacing(target) as temporary:
            model.save(temporary)
    except OSError as error:
        raise ConfigError(
            f"{target} can't be written ({error.strerror}); expected room and permission for it. "
            "Make room, or use another --run_dir."
        ) from error
    return target


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
