"""Metrics over all replicas: their variables are summed once a boundary, then the result computed.

Averaging results is wrong for anything that isn't a mean (AUC, precision), and reducing each
variable by itself costs a collective for each. Here everything that workers must tell each other
at a boundary travels in one vector of float64, in which sums of float32 and counts are exact.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfscale.fit.packing import Packing


class MetricTotals:
    """The metric variables of a model, summed over all replicas.

    Args:
        model: compiled and built.
    """

    def __init__(self, model: keras.Model) -> None:
        """Remembers the variables; a metric that is added later isn't seen."""
        self._model = model
        self.variables: list[Any] = list(model.metrics_variables)
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

    def results(self, totals: Sequence[tf.Tensor]) -> dict[str, Any]:
        """What the model's metrics give for these totals, by their Keras names."""
        mapping = [
            (variable, tf.cast(total, variable.dtype))
            for variable, total in zip(self.variables, totals, strict=True)
        ]
        with keras.StatelessScope(state_mapping=mapping):
            results = self._model.get_metrics_result()
        numbers: dict[str, Any] = keras.tree.map_structure(
            lambda value: (
                keras.ops.convert_to_numpy(value).item()
                if keras.ops.size(value) == 1
                else keras.ops.convert_to_numpy(value)
            ),
            results,
        )
        return numbers
