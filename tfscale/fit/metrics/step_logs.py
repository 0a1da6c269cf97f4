"""What a step of the user's own returned, and what of it is shown."""

from collections.abc import Sequence

import tensorflow as tf

from tfscale.fit.keras.symbolic_step import SymbolicStep, flat_logs
from tfscale.fit.metrics.metric_totals import MetricTotals, plain
from tfscale.fit.metrics.packing import Packing
from tfscale.structures import Json, Structure


class OwnLogs:
    """The logs of a `train_step` or `test_step`, over all replicas.

    What a step returns is what is shown. A metric that the step updates is shown with its result
    over all examples; everything else, a loss say, is averaged by its name. A metric that no step
    updates isn't shown.

    Args:
        totals: the model's metric variables.
        rehearsed: what the user's step does; None for Keras's, which returns its metrics.
    """

    def __init__(self, totals: MetricTotals, rehearsed: SymbolicStep | None) -> None:
        self._totals = totals
        self._last: Sequence[tf.Tensor] = ()
        self._rehearsed = rehearsed
        logs = rehearsed.logs if rehearsed else {}
        of_metrics = totals.names(rehearsed.updated) if rehearsed else set()
        # What has no fixed shape can't be averaged, and is a metric's or nobody's.
        self.names = [
            name
            for name, shape in logs.items()
            if name not in of_metrics and shape.is_fully_defined()
        ]
        self.packing = Packing([logs[name] for name in self.names])

    def before_any(self) -> dict[str, Json] | None:
        """What `shown` gives of no step at all: each name, with a value of that shape.

        None where a metric of the user's own has no result yet, so that nobody knows its names.
        """
        nothing = tf.zeros([sum(self._totals.packing.sizes)], tf.float64)
        means = [tf.zeros(shape, tf.float64) for shape in self.packing.shapes]
        try:
            return self.shown(self._totals.packing.unpack(nothing), means)
        except Exception:  # whatever a user's `result` raises
            return None

    def picked(self, logs: Structure) -> list[tf.Tensor]:
        """The values that are averaged, float64, of what a step returned; in replica context."""
        shown = flat_logs(logs) if self.names else {}
        return [tf.cast(shown[name], tf.float64) for name in self.names]

    def shown(
        self, totals: Sequence[tf.Tensor], means: Sequence[tf.Tensor], *, is_new: bool = True
    ) -> dict[str, Json]:
        """The logs.

        Args:
            totals: of the metric variables, over all replicas.
            means: of what `picked` gives.
            is_new: False if no step has given any: then those before are shown again.
        """
        self._last = means = means if is_new else self._last or means
        if self._rehearsed is None:
            return self._totals.results(totals)
        results = self._totals.results(totals, self._rehearsed.updated)
        own = {name: plain(mean) for name, mean in zip(self.names, means, strict=True)}
        everything = {**results, **own}
        # In the order in which the step returns them; a dict's own names come as they are.
        returned = [name for name in self._rehearsed.logs if name in everything]
        return {name: everything[name] for name in returned} or results


def local_means(strategy: tf.distribute.Strategy, picked: Sequence[Structure]) -> list[tf.Tensor]:
    """The means over this worker's replicas of what each has picked."""
    parts = [list(strategy.experimental_local_results(value)) for value in picked]
    return [tf.add_n(each) / len(each) for each in parts]
