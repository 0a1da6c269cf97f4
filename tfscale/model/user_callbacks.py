"""The callbacks that a model file asks for."""

import keras

from tfscale.errors import ConfigError, one_line
from tfscale.model.model_file import ModelFile


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
