import threading

import pytest
import tensorflow as tf

from tfscale.fit.keras.tape import targets_told


def _gradient(value=3.0):
    x = tf.Variable(value)
    with tf.GradientTape() as tape:
        y = x * x
    return float(tape.gradient(y, x))


def test_what_is_derived_is_told_and_derived():
    told = []
    with targets_told(told.append):
        assert _gradient() == 6.0
    assert [float(one) for one in told] == [9.0]
    assert _gradient() == 6.0 and len(told) == 1


def test_gradients_that_nobody_looks_at_are_zeros_in_the_structure_of_the_variables():
    one, two = tf.Variable([1.0, 2.0]), tf.Variable(3, dtype=tf.float32)
    with targets_told(lambda _: None, are_derived=False), tf.GradientTape() as tape:
        found = tape.gradient(tf.reduce_sum(one), {"one": [one], "two": two})
    assert found["one"][0].numpy().tolist() == [0.0, 0.0]
    assert found["two"].numpy() == 0.0


def test_a_body_within_a_body_has_its_own_rule_and_gives_the_outer_one_back_after_an_error():
    outer, inner = [], []
    with targets_told(outer.append):
        with pytest.raises(KeyError), targets_told(inner.append, are_derived=False):
            assert _gradient() == 0.0
            raise KeyError
        assert _gradient() == 6.0
    assert (len(outer), len(inner)) == (1, 1)


def test_what_one_thread_does_is_not_told_to_another():
    # Replicas are traced in threads that take turns.
    found = []
    with targets_told(found.append, are_derived=False):
        thread = threading.Thread(target=lambda: found.append(_gradient()))
        thread.start()
        thread.join()
    assert found == [6.0]


def test_tensorflow_still_tells_nobody_what_a_tape_derives():
    # When this fails, TensorFlow may have a hook, and the replacement can go.
    assert {name for name in dir(tf.GradientTape) if not name.startswith("_")} == {
        *("batch_jacobian", "gradient", "jacobian", "reset", "stop_recording", "watch"),
        "watched_variables",
    }
