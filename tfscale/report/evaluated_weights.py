"""Which weights the last validation was about: the report is about those that are saved.

`restore_best_weights`, averaged weights (EMA) and a user's own callback change weights after the
last epoch was validated. Metrics without a prefix stay what Keras shows: means over the steps of
the last epoch, while the weights were changing. They are about no file.
"""

from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from tfscale.fit.loop.events import Point
from tfscale.listener import Listener
from tfscale.model.model_facts import checksum, local_value
from tfscale.structures import Json

# What these do never changes a weight (keras 3.15.1).
_HARMLESS = (
    *(keras.callbacks.ModelCheckpoint, keras.callbacks.CSVLogger, keras.callbacks.TensorBoard),
    *(keras.callbacks.ReduceLROnPlateau, keras.callbacks.LearningRateScheduler),
    *(keras.callbacks.TerminateOnNaN, keras.callbacks.RemoteMonitor),
)


class EvaluatedWeights(Listener):
    """Remembers a checksum of the weights with which each evaluation starts.

    It reads all weights once an evaluation, a second for some gigabytes. Where nothing can change
    them afterwards it does nothing.

    Args:
        model: that trains.
        strategy: whose replicas hold the weights; nothing travels to read them.
        may_change: what `weights_may_change` says.
    """

    def __init__(
        self, model: keras.Model, strategy: tf.distribute.Strategy, *, may_change: bool
    ) -> None:
        self._model = model
        self._strategy = strategy
        self._may_change = may_change
        self._seen: list[int] | None = None

    def at_point(self, point: Point) -> None:
        """Looks when every callback has put in the weights that it wants evaluated."""
        if point.loop == "validation" and point.done == 0 and self._may_change:
            self._seen = self._now()

    def get_state(self) -> dict[str, Json]:
        """The checksums."""
        return {"seen": self._seen}

    def set_state(self, state: Mapping[str, Json]) -> None:
        """The last validation was an earlier run's."""
        self._seen = state["seen"]

    @property
    def have_changed(self) -> bool:
        """Whether the model has other weights than those that were evaluated last."""
        return self._seen is not None and self._seen != self._now()

    def _now(self) -> list[int]:
        return [checksum(local_value(one, self._strategy)) for one in self._model.weights]


def weights_may_change(model: keras.Model, callbacks: Sequence[keras.callbacks.Callback]) -> bool:
    """Whether anything in a run may change weights after an epoch's validation.

    Args:
        model: compiled.
        callbacks: the user's.
    """
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    optimizers = getattr(inner, "optimizers", [inner])
    if any(getattr(optimizer, "use_ema", False) for optimizer in optimizers):
        return True
    return any(not _is_harmless(callback) for callback in callbacks)


def _is_harmless(callback: keras.callbacks.Callback) -> bool:
    if type(callback) is keras.callbacks.EarlyStopping:
        return not callback.restore_best_weights
    return type(callback) in _HARMLESS
