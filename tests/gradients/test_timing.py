import time

import numpy as np
import pytest
import tensorflow as tf

from tfscale.gradients.timing import CommunicationTimes, time_of


@pytest.fixture
def strategy():
    return tf.distribute.OneDeviceStrategy("CPU:0")


def test_what_backward_does_not_hide_is_exposed(strategy):
    times = CommunicationTimes(strategy)

    @tf.function
    def steps():
        def on_replica():
            times.reset()
            for _ in range(2):
                times.observe(
                    tf.constant([10.0, 11.0, 13.0], tf.float64),
                    tf.constant([12.0, 14.5, 14.0], tf.float64),
                )
            return times.local()

        return strategy.experimental_local_results(strategy.run(on_replica))[0]

    for _ in range(2):  # the second time starts again from nothing
        np.testing.assert_allclose(steps(), [2 * 1.5, 2 * 4.5])
    np.testing.assert_array_equal(times.last_step(), [[10.0, 11.0, 13.0], [12.0, 14.5, 14.0]])


def test_sums_that_are_there_before_the_last_gradient_expose_nothing(strategy):
    times = CommunicationTimes(strategy)

    @tf.function
    def step():
        def on_replica():
            times.observe(tf.constant([1.0, 5.0], tf.float64), tf.constant([2.0, 4.0], tf.float64))
            return times.local()

        return strategy.experimental_local_results(strategy.run(on_replica))[0]

    np.testing.assert_allclose(step(), [0.0, 3.0])


def test_a_tensor_is_timed_when_it_is_there_and_not_when_others_are():
    def slow(x):
        time.sleep(0.3)
        return x

    @tf.function
    def both():
        late = tf.numpy_function(slow, [tf.ones([2])], tf.float32)
        # A plain tf.timestamp() that is written down after the slow one would wait for it.
        return time_of(tf.ensure_shape(late, [2])), time_of(tf.ones([3]) * tf.random.uniform([]))

    both()
    late, early = both()
    assert float(late - early) > 0.2


def test_the_time_is_that_of_the_clock():
    before = time.time()
    now = float(time_of(tf.ones([1])))
    assert before - 1 < now < time.time() + 1
