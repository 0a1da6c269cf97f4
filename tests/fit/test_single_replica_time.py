import keras
import numpy as np
import tensorflow as tf

from tfscale.fit.single_replica_time import measured_seconds


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
