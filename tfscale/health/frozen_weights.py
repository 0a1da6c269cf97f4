"""Notices that other weights are to be trained than those that the step was made for."""

from tfscale.errors import ConfigError
from tfscale.fit.loop.events import Boundary, Point
from tfscale.fit.prepare_job import Prepared
from tfscale.listener import Listener
from tfscale.startup.job import Job


class FrozenWeights(Listener):
    """Ends a run in which a callback freezes or unfreezes weights while it trains.

    The step is traced once, in Keras too, whose own `fit` continues with the old weights and says
    nothing. It looks when an epoch begins and when its last loop is over, because walking through a
    large model takes milliseconds.
    """

    def __init__(self) -> None:
        """Knows nothing before the first step: until then a change still has an effect."""
        self._traced: list[int] | None = None
        self._size = 0

    def begin(self, job: Job, prepared: Prepared) -> None:
        """Holds the model."""
        self._model = prepared.model

    def at_boundary(self, boundary: Boundary) -> None:
        """Remembers the weights of the first step."""
        if self._traced is None:
            self._traced = [id(one) for one in self._model.trainable_variables]
            self._size = self._count()

    def at_point(self, point: Point) -> None:
        """Looks for what was changed between two epochs, or within one.

        Raises:
            ConfigError: other weights are to be trained.
        """
        if point.loop != "fit" or 0 < point.done < (point.steps or 0):
            return
        if self._traced in (None, [id(one) for one in self._model.trainable_variables]):
            return
        raise ConfigError(
            f"A callback has changed which weights are trained, from {self._size:,} to "
            f"{self._count():,}; expected the same for a whole run, because the step is made for "
            "them once. Train in two runs: freeze or unfreeze in build, and start the second run "
            "from the first one's weights."
        )

    def _count(self) -> int:
        return sum(int(one.value.shape.num_elements()) for one in self._model.trainable_variables)
