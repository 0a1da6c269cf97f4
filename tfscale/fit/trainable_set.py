"""Notices that other weights are to be trained than those that the step was made for."""

from typing import Any

import keras

from tfscale.errors import ConfigError
from tfscale.fit.keras.known_variables import unknown_variables


class TrainableSet(keras.callbacks.Callback):
    """Ends a run whose trainable weights change while it trains.

    The step is traced once, in Keras too, whose own `fit` goes on with the old weights and says
    nothing. It looks three times an epoch, because walking through a large model takes
    milliseconds. Put it first, so that each look comes before what others change in the same hook.
    """

    every_batch = False  # a look at the end of each loop is enough

    def __init__(self) -> None:
        """Knows nothing before the first step: until then a change still has an effect."""
        super().__init__()
        self._traced: list[int] | None = None
        self._size = 0
        self._looked = False

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks for what was changed at the end of the last epoch."""
        self._looked = False
        self._look()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Remembers the weights of the first step; looks once an epoch."""
        if self._traced is None:
            self._traced = [id(one) for one in self.model.trainable_variables]
            self._size = self._count()
        elif not self._looked:
            self._look()
        self._looked = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks for what was changed within the epoch, unless an earlier run has trained it."""
        self._look()

    def _look(self) -> None:
        if self._traced in (None, [id(one) for one in self.model.trainable_variables]):
            return
        raise ConfigError(
            f"A callback has changed which weights are trained, from {self._size:,} to "
            f"{self._count():,}; expected the same for a whole run, because the step is made for "
            "them once. Train in two runs: freeze or unfreeze in build, and start the second run "
            "from the first one's weights."
        )

    def _count(self) -> int:
        return sum(int(one.value.shape.num_elements()) for one in self.model.trainable_variables)


def require_known_variables(model: keras.Model, name: str) -> None:
    """Refuses weights that were unfrozen after the optimizer was built, as a loaded one is.

    Args:
        model: compiled and built.
        name: how to name the model file.

    Raises:
        ConfigError: the optimizer has no place for a trainable weight.
    """
    unknown = unknown_variables(model)
    if unknown:
        raise ConfigError(
            f"{name}: {unknown[0]} and {len(unknown) - 1} more weights are trainable but were not "
            "when the model's optimizer was built; expected compile() after unfreezing. Call "
            "model.compile(...) with a new optimizer in build."
        )
