"""Every stage is gone through as a whole, however many examples its elements have."""

import pytest
import tensorflow as tf

from tfscale.data.inspect.rates import examples_per_second


@pytest.mark.parametrize("count", [1, 2, 9, 10, 95])
def test_each_stage_is_read_to_its_end_and_has_a_rate(count):
    read = []

    def noted(number):
        tf.py_function(lambda: read.append(1), [], [])
        return number

    numbers = tf.data.Dataset.range(count).map(noted)
    rates = examples_per_second({"one": (numbers, 1), "four": (numbers.batch(4), 4)}, count)
    assert list(rates) == ["one", "four"]
    assert all(rate > 0 for rate in rates.values())
    assert len(read) == 2 * count
