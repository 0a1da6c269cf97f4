import keras
import numpy as np

from tfscale.fit.metrics.metric_totals import MetricTotals
from tfscale.fit.metrics.step_logs import OwnLogs


class _Fails(keras.metrics.Mean):
    def result(self):
        return 1.0 / float(self.total)


def _built(*metrics):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse", metrics=list(metrics))
    model.test_on_batch(np.ones((4, 3), np.float32), np.ones((4, 2), np.float32))
    return model


def _before_any(model):
    return OwnLogs(MetricTotals(model, 1, {}), None).before_any()


def test_the_names_are_known_before_any_step_with_values_of_their_shape():
    model = _built("mae", keras.metrics.F1Score(name="each"))
    found = _before_any(model)
    assert set(found) == set(model.get_metrics_result()) == {"loss", "mae", "each"}
    assert np.shape(found["each"]) == (2,) and np.shape(found["mae"]) == ()


def test_nobody_knows_the_names_of_a_metric_that_has_no_result_yet():
    model = _built()
    model.fails = _Fails()
    assert model.fails in model.metrics
    assert _before_any(model) is None
