import time

import numpy as np
import pytest
import tensorflow as tf

from tfscale.data.sources.shuffle_seeds import no_unseeded_shuffle
from tfscale.data.sources.stream_order import OrderWatch, StepsRead, everything_read, in_fixed_order
from tfscale.errors import ConfigError

pytestmark = pytest.mark.promise("stream")

numbers = tf.data.Dataset.range
ANY = {"num_parallel_calls": 4, "deterministic": False}


def _late(number):
    def wait(given):
        time.sleep(0.002 * np.random.default_rng().random())
        return given

    return tf.ensure_shape(tf.numpy_function(wait, [number], tf.int64), [])


def _within_options():
    options = tf.data.Options()
    options.deterministic = False
    return numbers(60).map(_late, num_parallel_calls=4).with_options(options)


FREE = {
    "map": lambda: numbers(60).map(_late, **ANY),
    "interleave": lambda: numbers(6).interleave(
        lambda part: numbers(10 * part, 10 * part + 10).map(_late), cycle_length=4, **ANY
    ),
    "within a function": lambda: numbers(3).flat_map(
        lambda part: numbers(20 * part, 20 * part + 20).map(_late, **ANY)
    ),
    "options": _within_options,
}


@pytest.mark.parametrize("kind", FREE)
def test_records_whose_order_threads_may_decide_have_the_same_order_each_time(kind):
    def read(records):
        return [int(number) for number in records]

    free = [read(FREE[kind]()) for _ in range(4)]
    assert any(one != free[0] for one in free), "there was nothing to put in order"
    fixed = [read(in_fixed_order("data.py", FREE[kind]())) for _ in range(4)]
    assert fixed == [fixed[0]] * 4
    assert sorted(fixed[0]) == list(range(60))


def test_what_has_an_order_is_left_as_it_is():
    records = numbers(9).map(lambda number: number, num_parallel_calls=2).shuffle(3, seed=1)
    assert in_fixed_order("data.py", records) is records


def _watched(values, *, step=None, workers=2, batch=4):
    """What two workers of a stream would compare: after some steps, or when all is read."""
    watch = OrderWatch()
    records = tf.data.Dataset.from_tensor_slices({"n": values, "text": [str(v) for v in values]})
    key = everything_read if step is None else StepsRead(batch, workers)
    seen = [int(one["n"]) for one in watch.watched(records, key)]
    assert seen == list(values)
    return watch.at(0 if step is None else step)


def test_workers_that_have_read_the_same_know_it_and_others_know_that_they_have_not():
    values = list(range(12))
    swapped = [*range(9), 10, 9, 11]
    assert _watched(values) == _watched(values) != _watched(swapped)
    assert _watched(values) != _watched(values[:-1])
    for step, is_same in ((1, True), (2, True), (3, False)):
        assert (_watched(values, step=step) == _watched(swapped, step=step)) == is_same
    assert _watched(values, step=4) == -1


DRAWN = {
    "shuffle": lambda **seed: numbers(5).shuffle(3, **seed),
    "random": lambda **seed: tf.data.Dataset.random(**seed),
    "sample_from_datasets": lambda **seed: tf.data.Dataset.sample_from_datasets(
        [numbers(3), numbers(4)], **seed
    ),
}


@pytest.mark.parametrize("name", DRAWN)
def test_what_draws_without_a_seed_is_refused_by_its_name(name):
    with no_unseeded_shuffle("data.py: load('train')"):
        DRAWN[name](seed=3)
    with pytest.raises(ConfigError, match=f"load.'train'. .*{name}.* without a seed|shuffles with"):
        with no_unseeded_shuffle("data.py: load('train')"):
            DRAWN[name]()
    assert numbers(5).shuffle(3) is not None
