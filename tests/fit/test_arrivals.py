import time

import tensorflow as tf

from tfscale.fit.arrivals import Arrivals


def test_a_loop_is_timed_from_before_its_first_step_to_after_its_last():
    arrivals, noted = Arrivals(), []

    def step(number):
        noted.append(time.time())
        time.sleep(0.02)
        noted.append(time.time())
        return number

    @tf.function
    def loop(iterator):
        def body(number):
            batch, _ = arrivals.next_of(iterator)
            tf.numpy_function(step, [batch], tf.int64)  # whose result nobody needs
            return (number + 1,)

        began = arrivals.begins()
        tf.while_loop(lambda number: number < 3, body, (tf.constant(0),), parallel_iterations=1)
        with tf.control_dependencies([arrivals.is_over()]):
            return began, tf.timestamp()

    for _ in range(20):
        noted.clear()
        began, ended = map(float, loop(iter(tf.data.Dataset.range(3))))
        assert began <= noted[0] and noted[-1] <= ended
        assert len(noted) == 6
