import keras
import numpy as np
import tensorflow as tf

from tfscale.fit.keras.traced_losses import all_finite, note_gradients, note_scaled, noting


def _derived(value):
    x = tf.Variable(value)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(x * 2.0)
    tape.gradient(loss, x)
    return loss


def test_what_a_tape_derives_is_the_loss():
    with noting() as found:
        first, second = _derived([1.0, 2.0]), _derived([3.0])
    assert found.loss().numpy() == (first + second).numpy() == 12.0


def test_outside_of_a_step_nothing_is_noted():
    with noting() as found:
        pass
    _derived([1.0])
    assert found.losses == [] and found.loss() is None


def test_a_step_within_a_step_keeps_its_own():
    with noting() as outer:
        _derived([1.0])
        with noting() as inner:
            _derived([5.0])
    assert (outer.loss().numpy(), inner.loss().numpy()) == (2.0, 10.0)


def test_a_vector_that_is_derived_for_a_penalty_is_no_loss():
    x = tf.Variable([1.0, 2.0])
    with noting() as found, tf.GradientTape() as outer:
        with tf.GradientTape() as tape:
            critic = x * np.inf
        tape.gradient(critic, x)
        loss = tf.reduce_sum(x)
        outer.gradient(loss, x)
    assert found.loss().numpy() == 3.0


def test_a_scaled_loss_counts_as_it_was():
    x = tf.Variable(2.0)
    with noting() as found, tf.GradientTape() as tape:
        loss = x * 1.0
        scaled = loss * np.inf
        note_scaled(scaled, loss)
        tape.gradient(scaled, x)
    assert found.loss().numpy() == 2.0


def test_what_an_inner_graph_derives_is_out_of_reach():
    @tf.function(autograph=False)
    def inner():
        return _loss_of_constant()

    def _loss_of_constant():
        x = tf.constant(2.0)
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = x * x
        tape.gradient(loss, x)
        return loss

    @tf.function(autograph=False)
    def step():
        with noting() as found:
            inner()
            assert found.loss() is None and len(found.losses) == 1
            own = _loss_of_constant()
            assert found.loss() is own
        return own

    assert step().numpy() == 4.0


def test_gradients_of_rows_are_looked_at_too():
    rows = tf.IndexedSlices(tf.constant([[1.0, np.nan]]), tf.constant([0]), tf.constant([4, 2]))
    with noting() as found:
        note_gradients([tf.constant([1.0]), None])
        assert found.are_gradients_finite().numpy()
        note_gradients([rows])
        assert not found.are_gradients_finite().numpy()


def test_only_floats_can_be_other_than_finite():
    assert all_finite([]).numpy()
    assert all_finite([tf.constant([1]), keras.Variable([1.0]).value]).numpy()
    assert not all_finite([tf.constant([1]), tf.constant([np.inf])]).numpy()
