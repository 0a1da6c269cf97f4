import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.fit.keras.install import _run_in_silence, install
from tfscale.fit.keras.loops import StepFunctions
from tfscale.fit.keras.optimizer import ReducedUpdate, is_linear


def _variable(value):
    return keras.Variable(np.asarray(value, np.float32))


def _reduced(optimizer, reduce):
    ReducedUpdate(optimizer, reduce, replicas=1, is_scaled_by_keras=False)
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
    update = ReducedUpdate(optimizer, _doubled, replicas=1, is_scaled_by_keras=False)
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
    update = ReducedUpdate(optimizer, _doubled, replicas=1, is_scaled_by_keras=False)
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


# The learning rate.


class _Counted(keras.optimizers.schedules.LearningRateSchedule):
    """0.5, and how often it was asked for."""

    def __init__(self):
        self.asked = 0

    def __call__(self, step):
        self.asked += 1
        return 0.5 + 0.0 * keras.ops.cast(step, "float32")

    def get_config(self):
        return {}


def _decayed(schedule, update):
    """Three variables after a step with weight decay, under `update` where it is given."""
    optimizer = keras.optimizers.SGD(schedule, weight_decay=0.1)
    if update:
        ReducedUpdate(optimizer, list, replicas=1, is_scaled_by_keras=False)
    variables = [_variable([1.0]) for _ in range(3)]
    optimizer.apply([tf.constant([0.5])] * 3, variables)
    return [keras.ops.convert_to_numpy(variable) for variable in variables], optimizer


def test_a_schedule_is_evaluated_once_a_step_and_the_result_is_kerass():
    ours, theirs = _Counted(), _Counted()
    found, _ = _decayed(ours, update=True)
    expected, _ = _decayed(theirs, update=False)
    np.testing.assert_array_equal(found, expected)
    assert ours.asked == 1
    assert theirs.asked > 1  # once this is 1, _LearningRate can go


def test_after_a_step_the_rate_is_that_of_the_next_one():
    schedule = keras.optimizers.schedules.PolynomialDecay(1.0, decay_steps=10)
    _, optimizer = _decayed(schedule, update=True)
    assert float(optimizer.learning_rate) == pytest.approx(0.9, rel=1e-3)


# Resetting metrics.


class _Where(keras.metrics.MeanSquaredError):
    """Notes whether it was reset outside of the replicas."""

    def __init__(self):
        super().__init__(name="where")
        self.was_outside = []

    def reset_state(self):
        self.was_outside.append(tf.distribute.in_cross_replica_context())
        super().reset_state()


def _with_metric(strategy):
    with strategy.scope():
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        metric = _Where()
        model.compile(loss="mse", metrics=[metric])
        model._symbolic_build(data_batch=(tf.TensorSpec([2, 1]), tf.TensorSpec([2, 1])))
    metric.was_outside.clear()
    return model, metric


def test_metrics_are_reset_by_each_replica_for_itself():
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    model, metric = _with_metric(strategy)
    install(model, StepFunctions(*[None] * 5), strategy)
    metric.total.assign(3.0)
    with strategy.scope():
        model.reset_metrics()
    assert metric.was_outside == [False]
    assert float(metric.total) == 0.0


def test_keras_still_resets_metrics_outside_of_the_replicas():
    # When this fails, the replacement in `install` can go.
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    model, metric = _with_metric(strategy)
    with strategy.scope():
        model.reset_metrics()
    assert metric.was_outside == [True]


def test_gradients_of_own_losses_are_averaged():
    optimizer = keras.optimizers.SGD(1.0)
    ReducedUpdate(optimizer, _doubled, replicas=2, is_scaled_by_keras=False)
    variable = _variable([0.0])
    optimizer.apply([tf.constant([0.5])], [variable])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), [-0.5])
    assert optimizer.scale_loss(tf.constant(6.0)) == 6.0


def test_losses_that_keras_scales_are_divided_there_and_gradients_left():
    optimizer = keras.optimizers.SGD(1.0)
    ReducedUpdate(optimizer, _doubled, replicas=2, is_scaled_by_keras=True)
    variable = _variable([0.0])
    optimizer.apply([tf.constant([0.5])], [variable])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), [-1.0])
    assert optimizer.scale_loss(tf.constant(6.0)) == 3.0


def test_rows_of_own_losses_are_averaged_too():
    optimizer = keras.optimizers.SGD(1.0)
    ReducedUpdate(optimizer, list, replicas=4, is_scaled_by_keras=False)
    variable = _variable([0.0, 0.0])
    rows = tf.IndexedSlices(tf.constant([2.0]), tf.constant([1]), tf.constant([2]))
    optimizer.apply([rows], [variable])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), [0.0, -0.5])


def test_an_optimizer_that_hands_on_reduces_once():
    small, large = keras.optimizers.SGD(1.0), keras.optimizers.SGD(1.0)
    chosen = keras.optimizers.OptimizerMap(large, {"small": small})
    optimizer = keras.optimizers.MultiOptimizer(chosen)
    reduced = []

    def reduce(gradients):
        reduced.append(len(gradients))
        return _doubled(gradients)

    variables = [_variable([0.0]), _variable([0.0])]
    optimizer.build(variables)
    ReducedUpdate(optimizer, reduce, replicas=1, is_scaled_by_keras=False)
    optimizer.apply([tf.constant([0.5]), tf.constant([0.25])], variables)
    assert reduced == [2]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variables[0]), [-1.0])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variables[1]), [-0.5])


@pytest.mark.parametrize(
    ("optimizer", "is_so"),
    [
        (keras.optimizers.SGD(0.1, momentum=0.9), True),
        (keras.optimizers.SGD(0.1, clipnorm=1.0), False),
        (keras.optimizers.Adam(0.1), False),
        (keras.optimizers.Adagrad(0.1), False),
    ],
)
def test_only_plain_sgd_may_add_up_rows(optimizer, is_so):
    assert is_linear(optimizer) == is_so


def test_gradients_have_the_shapes_of_their_variables_where_tensorflow_knows_none():
    layer = keras.layers.Dense(3)
    layer.build((None, None, 2))
    seen = []

    def reduce(gradients):
        seen.extend(gradient.shape for gradient in gradients)
        return gradients

    optimizer = _reduced(keras.optimizers.SGD(1.0), reduce)
    optimizer.build(layer.trainable_variables)

    @tf.function(input_signature=[tf.TensorSpec([4, None, 2])])
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x))
        gradients = tape.gradient(loss, [v.value for v in layer.trainable_variables])
        assert not gradients[0].shape.is_fully_defined()  # or the work-around can go
        optimizer.apply(gradients)

    step(tf.ones([4, 5, 2]))
    assert seen == [[2, 3], [3]]


def test_resetting_metrics_warns_nobody_who_has_a_notebook(caplog):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        metric = keras.metrics.Mean()
    with caplog.at_level("WARNING", logger="tensorflow"):
        _run_in_silence(strategy, metric.reset_state)
    assert not caplog.records
    assert not tf.get_logger().filters
