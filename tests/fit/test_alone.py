import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfscale.config import Config
from tfscale.errors import ConfigError
from tfscale.fit.alone import baseline_seconds, measured_seconds


def _config(path):
    return Config(run_dir="runs/first", baseline_report=str(path))


def _report(tmp_path, **changes):
    path = tmp_path / "report.json"
    report = {"replicas": 1, "examples_per_second": {"median": 640.0}, **changes}
    path.write_text(json.dumps(report))
    return path


def test_without_a_report_nothing_is_compared():
    assert baseline_seconds(Config(run_dir="runs/first"), replica_batch=32) is None


def test_a_report_says_how_long_a_batch_takes_one_replica(tmp_path):
    assert baseline_seconds(_config(_report(tmp_path)), replica_batch=32) == 0.05


def test_a_report_of_several_replicas_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="is of 2 replicas; expected one"):
        baseline_seconds(_config(_report(tmp_path, replicas=2)), replica_batch=32)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"replicas": 1}'])
def test_what_is_no_report_is_refused(tmp_path, content):
    path = tmp_path / "report.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match="can't be read"):
        baseline_seconds(_config(path), replica_batch=32)


def test_a_missing_report_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="FileNotFoundError"):
        baseline_seconds(_config(tmp_path / "nothing.json"), replica_batch=32)


def test_timing_a_step_changes_no_state():
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization()]
    )
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", metrics=["mae"])
    spec = (tf.TensorSpec([8, 4]), tf.TensorSpec([8, 3]))
    model._symbolic_build(data_batch=spec)
    model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    before = [np.array(variable.value) for variable in variables]
    strategy = tf.distribute.get_strategy()
    assert measured_seconds(model, strategy, model.train_step, spec) > 0
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(np.array(variable.value), value, err_msg=variable.path)
