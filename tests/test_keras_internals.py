import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfscale.config import ConfigError
from tfscale.keras_internals import ReducedUpdate


def _variable(value):
    return keras.Variable(np.asarray(value, np.float32))


def _reduced(optimizer, reduce):
    ReducedUpdate(optimizer, reduce)
    return optimizer


def _doubled(gradients):
    return [gradient if gradient is None else gradient * 2 for gradient in gradients]


def test_gradients_are_reduced_before_they_are_clipped():
    # Two replicas with (0.6, 0): clipped first it would be 1.2, clipped last it is 1.
    optimizer = _reduced(keras.optimizers.SGD(1.0, clipnorm=1.0), _doubled)
    variable = _variable([0.0, 0.0])
    optimizer.apply([tf.constant([0.6, 0.0])], [variable])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), [-1.0, 0.0], rtol=1e-6)


@pytest.mark.parametrize("clipping", [{"clipvalue": 1.0}, {"global_clipnorm": 1.0}])
def test_every_way_to_clip_comes_after_the_reduction(clipping):
    optimizer = _reduced(keras.optimizers.SGD(1.0, **clipping), _doubled)
    variable = _variable([0.0])
    optimizer.apply([tf.constant([0.6])], [variable])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), [-1.0], rtol=1e-6)


def test_a_train_step_of_the_users_own_is_reduced_too():
    optimizer = _reduced(keras.optimizers.SGD(1.0), _doubled)
    variable = _variable([0.0])
    optimizer.apply_gradients([(tf.constant([0.5]), variable)])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), [-1.0])


def test_held_gradients_are_given_back_and_not_applied():
    optimizer = keras.optimizers.SGD(1.0)
    update = ReducedUpdate(optimizer, _doubled)
    variable = _variable([0.0])
    with update.held() as held:
        optimizer.apply_gradients([(tf.constant([0.5]), variable)])
    ((gradients, variables),) = held
    np.testing.assert_allclose(gradients[0], [0.5])
    assert list(variables) == [variable]
    assert float(variable.value[0]) == 0.0
    update(gradients, variables)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), [-1.0])


def test_what_one_replica_holds_is_not_anothers():
    # Replicas are traced in threads that take turns.
    optimizer = keras.optimizers.SGD(1.0)
    update = ReducedUpdate(optimizer, _doubled)
    other = _variable([0.0])
    with update.held() as held:
        thread = threading.Thread(target=optimizer.apply, args=([tf.constant([0.5])], [other]))
        thread.start()
        thread.join()
    assert held == []
    np.testing.assert_allclose(keras.ops.convert_to_numpy(other), [-1.0])


def test_an_overflow_on_another_replica_keeps_the_step_from_the_weights():
    def overflowing(gradients):
        return [gradient * np.inf for gradient in gradients]

    inner = keras.optimizers.SGD(1.0)
    optimizer = _reduced(keras.optimizers.LossScaleOptimizer(inner, initial_scale=8.0), overflowing)
    variable = _variable([1.0])
    optimizer.build([variable])
    optimizer.apply([tf.constant([0.5])], [variable])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), [1.0])
    assert int(inner.iterations) == 0
    assert float(optimizer.dynamic_scale) == 4.0


def test_a_scaled_loss_is_unscaled_once_and_reduced_once():
    inner = keras.optimizers.SGD(1.0)
    optimizer = _reduced(keras.optimizers.LossScaleOptimizer(inner, initial_scale=8.0), _doubled)
    variable = _variable([0.0])
    optimizer.build([variable])
    optimizer.apply([tf.constant([4.0])], [variable])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), [-1.0])


def test_the_reduction_of_keras_is_off_on_every_layer_of_the_optimizer(monkeypatch):
    inner = keras.optimizers.SGD(1.0)
    optimizer = _reduced(keras.optimizers.LossScaleOptimizer(inner), _doubled)
    monkeypatch.setattr(tf.distribute, "get_replica_context", None)  # nothing asks for a context
    pairs = [(tf.constant(1.0), _variable(0.0))]
    assert optimizer._all_reduce_sum_gradients(pairs) == pairs
    assert inner._all_reduce_sum_gradients(pairs) == pairs


@pytest.mark.parametrize(
    "wrapped", [lambda inner: inner, lambda inner: keras.optimizers.LossScaleOptimizer(inner)]
)
def test_an_optimizer_that_accumulates_by_itself_is_refused_with_the_flag_that_does(wrapped):
    optimizer = wrapped(keras.optimizers.AdamW(gradient_accumulation_steps=4))
    with pytest.raises(ConfigError) as caught:
        _reduced(optimizer, _doubled)
    assert "AdamW(gradient_accumulation_steps=4) accumulates after the all-reduce" in str(
        caught.value
    )
    assert "--accumulate_steps=4" in str(caught.value)
