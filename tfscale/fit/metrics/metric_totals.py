"""Metrics over all replicas: their variables are summed once a boundary, then the result computed.

Averaging results is wrong for anything that isn't a mean (AUC, precision), and reducing each
variable by itself costs a collective for each. Here everything that workers must tell each other
at a boundary travels in one vector of float64, in which sums of float32 and counts are exact.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfscale.fit.keras.symbolic_step import flat_logs
from tfscale.fit.metrics.packing import Packing
from tfscale.structures import Json, Structure


class MetricTotals:
    """The metric variables of a model, put together over all replicas.

    Most are sums. A maximum or a minimum travels in as many copies as there are replicas, each of
    which fills its own.

    Args:
        model: compiled and built.
        replicas: of the job.
        kinds: "max" or "min" for the variables that aren't sums, by their ids.
    """

    def __init__(self, model: keras.Model, replicas: int, kinds: Mapping[int, str]) -> None:
        """Remembers the variables; a metric that is added later isn't seen."""
        self._model = model
        self._replicas = replicas
        self._kinds = dict(kinds)
        self.variables: list[keras.Variable] = list(model.metrics_variables)
        self.packing = Packing(
            [
                [replicas, *variable.shape] if id(variable) in self._kinds else variable.shape
                for variable in self.variables
            ]
        )

    def local(self) -> list[tf.Tensor]:
        """This replica's part of each total; called in replica context."""
        place = tf.distribute.get_replica_context().replica_id_in_sync_group
        parts = []
        for variable in self.variables:
            value = tf.cast(tf.convert_to_tensor(variable.value), tf.float64)
            if id(variable) in self._kinds:
                is_own = tf.reshape(
                    tf.equal(tf.range(self._replicas), place), [-1] + [1] * len(variable.shape)
                )
                # Not a product: a maximum may begin with minus infinity.
                value = tf.where(is_own, value[tf.newaxis], tf.zeros([], tf.float64))
            elif variable.aggregation == "mean":
                value /= self._replicas
            elif variable.aggregation != "sum":
                value = tf.where(tf.equal(place, 0), value, tf.zeros_like(value))
            parts.append(value)
        return parts

    def _whole(self, variable: keras.Variable, total: tf.Tensor) -> tf.Tensor:
        """A variable's value, of all that replicas sent."""
        kind = self._kinds.get(id(variable))
        if kind is not None:
            total = tf.reduce_max(total, 0) if kind == "max" else tf.reduce_min(total, 0)
        return tf.cast(total, variable.dtype)

    def dealt_out(self, variable: keras.Variable) -> Callable[[np.ndarray, int], list[np.ndarray]]:
        """How to give a variable's values of some replicas to another number of them.

        The whole, as `results` would have it, stays the same: the first replica gets a sum.
        """
        kind = self._kinds.get(id(variable)) or variable.aggregation

        def rows_of(rows: np.ndarray, replicas: int) -> list[np.ndarray]:
            if kind == "sum":
                first = rows.sum(axis=0, dtype=rows.dtype)
                return [first, *[np.zeros_like(first)] * (replicas - 1)]
            whole = {
                "max": lambda: rows.max(axis=0),
                "min": lambda: rows.min(axis=0),
                "mean": lambda: rows.mean(axis=0),
            }
            return [whole.get(kind, lambda: rows[0])()] * replicas

        return rows_of

    def names(self, updated: Collection[int]) -> set[str]:
        """What the results of the metrics are called that these variables belong to."""
        return set(self.results(self.packing.unpack(tf.zeros([sum(self.packing.sizes)])), updated))

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
            (variable, self._whole(variable, total))
            for variable, total in zip(self.variables, totals, strict=True)
        ]
        found: dict[str, Json] = {}
        with keras.StatelessScope(state_mapping=mapping):
            for metric in self._model.metrics:
                ids = {id(variable) for variable in metric.variables}
                if updated is None or ids & set(updated):
                    result = metric.result()
                    named = flat_logs({metric.name: result})
                    # Within the scope, because a result may be one of the variables itself.
                    found |= {name: plain(value) for name, value in named.items()}
        return found


def plain(value: Structure) -> Json:
    """A number where there is one, else an array."""
    array = keras.ops.convert_to_numpy(value)
    return array.item() if array.size == 1 else array
