import numpy as np
import pytest
import tensorflow as tf

from tfscale.data.sharding import Sharding, shuffled
from tfscale.errors import ConfigError

SHAPES = [(1, 1), (1, 4), (2, 1), (2, 2), (4, 1), (3, 4), (12, 1)]  # workers, devices of each


def _step_of(step, workers, devices, global_batch=24):
    """The positions of one step, replica by replica in the order of their ids."""
    return [
        Sharding(global_batch, workers, worker, devices)
        .positions(tf.constant(step * devices + device, tf.int64))
        .numpy()
        for worker in range(workers)
        for device in range(devices)
    ]


def _order(positions, *, num_examples, global_batch=4, seed=0):
    """Examples and passes of positions that may cross a pass, one global batch at a time."""
    parts = [
        shuffled(
            tf.constant(part, tf.int64),
            num_examples=num_examples,
            global_batch=global_batch,
            seed=seed,
        )
        for part in np.reshape(positions, [-1, global_batch])
    ]
    index, epoch = (
        np.concatenate([leaf.numpy() for leaf in leaves]) for leaves in zip(*parts, strict=True)
    )
    return index, epoch


def _epoch(number, *, num_examples=23, global_batch=4, seed=0):
    length = num_examples // global_batch * global_batch
    positions = np.arange(number * length, (number + 1) * length)
    index, epochs = _order(
        positions, num_examples=num_examples, global_batch=global_batch, seed=seed
    )
    assert set(epochs) == {number}
    return list(index)


@pytest.mark.parametrize(("workers", "devices"), SHAPES)
def test_all_replicas_together_take_each_position_of_a_step_once(workers, devices):
    for step in (0, 1, 7):
        taken = np.concatenate(_step_of(step, workers, devices))
        np.testing.assert_array_equal(taken, np.arange(24 * step, 24 * (step + 1)))


@pytest.mark.parametrize(("workers", "devices"), SHAPES)
def test_every_replica_takes_equally_many(workers, devices):
    parts = _step_of(3, workers, devices)
    assert len(parts) == workers * devices
    assert {len(part) for part in parts} == {24 // (workers * devices)}


def test_a_replica_takes_the_same_part_whatever_the_workers_are():
    four_by_one, two_by_two, one_by_four = (
        _step_of(5, workers, 4 // workers) for workers in (4, 2, 1)
    )
    np.testing.assert_array_equal(four_by_one, two_by_two)
    np.testing.assert_array_equal(two_by_two, one_by_four)


def test_positions_are_whole_numbers_that_do_not_end():
    late = Sharding(24, 2, 1, 1).positions(tf.constant(2**40, tf.int64))
    assert late.dtype == tf.int64
    assert late.numpy()[0] == 2**40 * 24 + 12


def test_the_batch_in_words_adds_up():
    sharding = Sharding(global_batch=24, num_workers=2, worker=1, local_replicas=3)
    assert (sharding.num_replicas, sharding.worker_batch, sharding.replica_batch) == (6, 12, 4)


@pytest.mark.parametrize(
    ("global_batch", "workers", "devices", "fitting"),
    [(10, 2, 2, 12), (1, 4, 1, 4), (7, 1, 2, 8), (65, 2, 32, 128)],
)
def test_a_batch_that_does_not_split_is_refused_with_one_that_does(
    global_batch, workers, devices, fitting
):
    with pytest.raises(ConfigError) as caught:
        Sharding(global_batch, workers, 0, devices)
    replicas = workers * devices
    assert str(caught.value) == (
        f"--batch_size={global_batch} cannot be split over {replicas} replicas "
        f"({workers} workers x {devices} devices). Use a multiple of {replicas}, "
        f"for example --batch_size={fitting}."
    )
    Sharding(fitting, workers, 0, devices)


@pytest.mark.parametrize(("num_examples", "global_batch"), [(23, 4), (24, 4), (5, 5), (1000, 64)])
def test_an_epoch_has_no_example_twice(num_examples, global_batch):
    for number in (0, 1):
        order = _epoch(number, num_examples=num_examples, global_batch=global_batch)
        assert len(set(order)) == len(order) == num_examples // global_batch * global_batch
        assert set(order) <= set(range(num_examples))


def test_an_epoch_that_the_batch_divides_has_every_example():
    assert sorted(_epoch(0, num_examples=24)) == list(range(24))


def test_the_examples_that_are_left_over_differ_from_epoch_to_epoch():
    left_over = [frozenset(range(23)) - frozenset(_epoch(number)) for number in range(6)]
    assert {len(rest) for rest in left_over} == {3}
    assert len(set(left_over)) > 1


def test_every_epoch_has_an_order_of_its_own():
    orders = [tuple(_epoch(number)) for number in range(4)]
    assert len(set(orders)) == 4
    assert list(range(20)) not in [list(order) for order in orders]


def test_every_seed_has_an_order_of_its_own():
    assert len({tuple(_epoch(0, seed=seed)) for seed in range(4)}) == 4


def test_the_next_epoch_of_one_seed_is_not_the_first_of_the_next_seed():
    assert _epoch(1, seed=0) != _epoch(0, seed=1)


@pytest.mark.promise("order")
def test_one_seed_always_gives_the_same_order():
    assert _epoch(3, seed=7) == _epoch(3, seed=7)


@pytest.mark.promise("order")
def test_the_order_of_a_step_is_the_same_for_one_worker_and_for_four():
    def step_of(workers):
        parts = _step_of(5, workers, 1)
        return [
            number
            for part in parts
            for number in shuffled(tf.constant(part), num_examples=50, global_batch=24, seed=3)[
                0
            ].numpy()
        ]

    assert step_of(1) == step_of(2) == step_of(4)


def test_a_pass_ends_after_its_last_whole_batch():
    _, epochs = _order(np.arange(60), num_examples=23)
    assert list(epochs) == [0] * 20 + [1] * 20 + [2] * 20


def test_a_data_set_of_one_example_is_that_example_again_and_again():
    index, epochs = _order(np.arange(3), num_examples=1, global_batch=1)
    assert (list(index), list(epochs)) == ([0, 0, 0], [0, 1, 2])


def test_the_order_can_be_taken_within_a_dataset():
    positions = tf.data.Dataset.from_tensors(tf.range(4, dtype=tf.int64))
    mapped = positions.map(lambda part: shuffled(part, num_examples=23, global_batch=4, seed=0)[0])
    np.testing.assert_array_equal(next(iter(mapped)), _epoch(0)[:4])
