"""Metrics over all replicas: their variables are summed once a boundary, then the result computed.

Averaging results is wrong for anything that isn't a mean (AUC, precision), and reducing each
variable by itself costs a collective for each. Here everything that workers must tell each other
at a boundary travels in one vector of float64, in which sums of float32 and counts are exact.
"""

from collections.abc import Collection, Sequence

import keras
import tensorflow as tf

from tfscale.fit.packing import Packing
from tfscale.structures import Json, Structure


class MetricTotals:
    """The metric variables of a model, summed over all replicas.

    Args:
        model: compiled and built.
    """

    def __init__(self, model: keras.Model) -> None:
        """Remembers the variables; a metric that is added later isn't seen."""
        self._model = model
        self.variables: list[keras.Variable] = list(model.metrics_variables)
        self.packing = Packing([variable.shape for variable in self.variables])

    def local(self) -> list[tf.Tensor]:
        """This replica's part of each total; called in replica context."""
        context = tf.distribute.get_replica_context()
        replicas = context.num_replicas_in_sync
        is_first = tf.equal(context.replica_id_in_sync_group, 0)
        parts = []
        for variable in self.variables:
            value = tf.cast(tf.convert_to_tensor(variable.value), tf.float64)
            if variable.aggregation == "mean":
                value /= replicas
            elif variable.aggregation != "sum":
                value = tf.where(is_first, value, tf.zeros_like(value))
            parts.append(value)
        return parts

    def names(self, updated: Collection[int]) -> set[str]:
        """What the results of the metrics are called that these variables belong to."""
        return set(self.results([tf.zeros(v.shape, v.dtype) for v in self.variables], updated))

    def results(
        self, totals: Sequence[tf.Tensor], updated: Collection[int] | None = None
    ) -> dict[str, Json]:
        """What the model's metrics give for these totals, by their Keras names.

        Args:
            totals: of `variables`.
            updated: ids of the Keras variables that a step updates, None for all: a metric that no
                step updates has nothing to say.
        """
        mapping = [
            (variable, tf.cast(total, variable.dtype))
            for variable, total in zip(self.variables, totals, strict=True)
        ]
        found: dict[str, Json] = {}
        with keras.StatelessScope(state_mapping=mapping):
            for metric in self._model.metrics:
                ids = {id(variable) for variable in metric.variables}
                if updated is None or ids & set(updated):
                    result = metric.result()
                    found |= result if isinstance(result, dict) else {metric.name: result}
        return {name: plain(value) for name, value in found.items()}


def plain(value: Structure) -> Json:
    """A number where there is one, else an array."""
    array = keras.ops.convert_to_numpy(value)
    return array.item() if array.size == 1 else array
