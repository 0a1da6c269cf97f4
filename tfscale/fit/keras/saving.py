"""How Keras's callbacks save a model: where to, and whether all of it."""

import keras

from tfscale.fit.keras.classes import is_kerass
from tfscale.structures import Json


def path_of(
    callback: keras.callbacks.ModelCheckpoint, batch: int | None, logs: dict[str, Json]
) -> str:
    """Where a checkpoint of the first epoch goes, given what its logs are.

    Raises:
        Exception: whatever Keras, or a derived class, has against it.
    """
    return str(callback._get_file_path(0, batch, dict(logs)))


def saves_model(callback: keras.callbacks.Callback) -> bool:
    """Whether it is one of Keras's that save a whole model, and does so in Keras's way."""
    save = getattr(callback, "_save_model", getattr(callback, "_save_checkpoint", None))
    return save is not None and is_kerass(save) and not callback.save_weights_only
