import keras
import numpy as np
import pytest
import tensorflow as tf

from tfscale.fit.metrics.metric_totals import MetricTotals
from tfscale.fit.metrics.packing import Packing


def _model(*metrics):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(loss="mse", metrics=list(metrics), jit_compile=False)
    model._symbolic_build(data_batch=(tf.zeros([4, 2]), tf.zeros([4, 1])))
    return model


def _update(model, x, y):
    model.reset_metrics()
    model.compute_loss(x, y, model(x))
    model.compute_metrics(x, y, model(x))
    model._loss_tracker.update_state(keras.losses.mean_squared_error(y, model(x)))


class _Context:
    """One of several replicas."""

    def __init__(self, replica, replicas):
        self.replica_id_in_sync_group = tf.constant(replica)
        self.num_replicas_in_sync = replicas


def _of_replicas(monkeypatch, totals, states):
    """The sum of what replicas with these metric variables would hand to the all-reduce."""
    parts = []
    for replica, state in enumerate(states):
        context = _Context(replica, len(states))
        monkeypatch.setattr(tf.distribute, "get_replica_context", lambda context=context: context)
        for variable, value in zip(totals.variables, state, strict=True):
            variable.assign(value)
        parts.append(totals.local())
    return [tf.add_n(list(same)) for same in zip(*parts, strict=True)]


@pytest.mark.parametrize(
    "arrays",
    [
        [],
        [np.array(1.5)],
        [np.zeros(0), np.array(3, np.int32), np.arange(6, dtype=np.float32).reshape(2, 3)],
        [np.array([True, False]), np.array([[2**31 - 1]], np.int32), np.array(0.25, np.float16)],
    ],
)
def test_tensors_come_back_from_one_vector(arrays):
    packing = Packing([array.shape for array in arrays])
    vector = packing.pack([tf.constant(array) for array in arrays])
    assert vector.dtype == tf.float64
    assert vector.shape == [sum(array.size for array in arrays)]
    unpacked = packing.unpack(vector)
    assert len(unpacked) == len(arrays)
    for tensor, array in zip(unpacked, arrays, strict=True):
        assert tensor.dtype == tf.float64
        assert tensor.shape == array.shape
        np.testing.assert_array_equal(tensor.numpy(), array.astype(np.float64))


def test_a_packed_vector_has_the_same_length_within_a_graph():
    packing = Packing([[2, 3], []])
    packed = tf.function(lambda a, b: packing.pack([a, b])).get_concrete_function(
        tf.TensorSpec([2, 3], tf.float32), tf.TensorSpec([], tf.int64)
    )
    assert packed.output_shapes == [7]


def test_counts_beyond_float32_stay_exact():
    packing = Packing([[]])
    count = tf.constant(2**24 + 1, tf.int64)
    assert int(packing.unpack(packing.pack([count]))[0]) == 2**24 + 1


def test_sums_of_replicas_are_those_of_all_examples(monkeypatch):
    model = _model("mae", keras.metrics.AUC(num_thresholds=5, name="auc"))
    totals = MetricTotals(model, 2, {})
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 0.5, (12, 2)).astype("float32")
    y = rng.integers(0, 2, (12, 1)).astype("float32")

    def state_of(rows):
        _update(model, x[rows], y[rows])
        return [tf.identity(variable.value) for variable in totals.variables]

    everything = state_of(slice(None))
    # Replicas of different size: a mean of their results would be wrong.
    summed = _of_replicas(monkeypatch, totals, [state_of(slice(0, 2)), state_of(slice(2, None))])
    for ours, expected in zip(summed, everything, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-6)
    results = totals.results(summed)
    distance = np.abs(x.sum(axis=1, keepdims=True) - y)
    assert results["mae"] == pytest.approx(distance.mean(), rel=1e-5)
    assert results["loss"] == pytest.approx((distance**2).mean(), rel=1e-5)
    assert 0.0 < results["auc"] < 1.0


def test_a_variable_that_is_a_mean_counts_a_share_of_each_replica(monkeypatch):
    class Steady(keras.metrics.Metric):
        def __init__(self):
            super().__init__(name="steady")
            self.average = self.add_variable((), keras.initializers.Zeros(), aggregation="mean")
            self.chosen = self.add_variable(
                (), keras.initializers.Zeros(), aggregation="only_first_replica"
            )
            self.total = self.add_variable((), keras.initializers.Zeros(), aggregation="sum")

        def update_state(self, y_true, y_pred, sample_weight=None):
            pass

        def result(self):
            return keras.ops.stack([self.average.value, self.chosen.value, self.total.value])

    metric = Steady()
    totals = MetricTotals(_model(metric), 2, {})
    own = [next(k for k, v in enumerate(totals.variables) if v is w) for w in metric.variables]

    def state(average, chosen, total):
        values = [tf.zeros(variable.shape) for variable in totals.variables]
        for position, value in zip(own, (average, chosen, total), strict=True):
            values[position] = tf.constant(value)
        return values

    summed = _of_replicas(monkeypatch, totals, [state(1.0, 10.0, 100.0), state(3.0, 20.0, 200.0)])
    np.testing.assert_allclose(totals.results(summed)["steady"], [2.0, 10.0, 300.0])


def test_results_leave_the_variables_of_the_model_as_they_are():
    model = _model("mae")
    totals = MetricTotals(model, 1, {})
    _update(model, tf.ones([2, 2]), tf.zeros([2, 1]))
    before = [np.asarray(variable.value) for variable in totals.variables]
    totals.results([tf.ones(variable.shape, tf.float64) for variable in totals.variables])
    for variable, value in zip(totals.variables, before, strict=True):
        np.testing.assert_array_equal(variable.value, value)


def test_results_are_plain_numbers_by_the_names_that_keras_gives():
    model = _model("mae")
    totals = MetricTotals(model, 1, {})
    _update(model, tf.ones([2, 2]), tf.zeros([2, 1]))
    results = totals.results(totals.local())
    assert results == pytest.approx({"loss": 4.0, "mae": 2.0})
    assert {type(value) for value in results.values()} == {float}


def test_a_metric_of_many_numbers_is_an_array():
    class PerClass(keras.metrics.Metric):
        def __init__(self):
            super().__init__(name="per_class")
            self.total = self.add_variable((3,), keras.initializers.Zeros())

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.total.assign_add([1.0, 2.0, 3.0])

        def result(self):
            return self.total.value

    model = _model(PerClass())
    totals = MetricTotals(model, 1, {})
    _update(model, tf.ones([2, 2]), tf.zeros([2, 1]))
    results = totals.results(totals.local())
    np.testing.assert_array_equal(results["per_class"], [1.0, 2.0, 3.0])


def test_maxima_and_minima_of_replicas_are_those_of_all_examples(monkeypatch):
    class Extremes(keras.metrics.Metric):
        def __init__(self):
            super().__init__(name="extremes")
            self.largest = self.add_variable((2,), keras.initializers.Zeros())
            self.smallest = self.add_variable((), keras.initializers.Zeros())

        def update_state(self, y_true, y_pred, sample_weight=None):
            pass

        def result(self):
            return {"largest": self.largest + 0.0, "smallest": self.smallest + 0.0}

    metric = Extremes()
    kinds = {id(metric.largest): "max", id(metric.smallest): "min"}
    totals = MetricTotals(_model(metric), 2, kinds)
    states = []
    for largest, smallest in (([1.0, -7.0], -np.inf), ([0.5, 3.0], 4.0)):
        new = {id(metric.largest): tf.constant(largest), id(metric.smallest): smallest}
        states.append([new.get(id(one), tf.zeros(one.shape)) for one in totals.variables])
    results = totals.results(_of_replicas(monkeypatch, totals, states))
    np.testing.assert_array_equal(results["largest"], [1.0, 3.0])
    assert results["smallest"] == -np.inf


def test_a_metric_that_no_step_updates_has_no_result():
    model = _model("mae")
    totals = MetricTotals(model, 1, {})
    updated = {id(variable) for variable in model._loss_tracker.variables}
    assert set(totals.results(totals.local(), updated)) == {"loss"}
    assert totals.names(updated) == {"loss"}
