import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfscale.data.user_batches import ENDED, WorkerRows, given_input


def _parts(batches, share, count):
    """The first elements of a worker, as (index, rows) of numpy."""
    source = given_input(batches, None, share, tf.distribute.get_strategy())
    return list(itertools.islice(source.make(0).as_numpy_iterator(), count))


def _batches(*sizes):
    rows = iter(range(100))
    made = [np.array(list(itertools.islice(rows, size)), "int64") for size in sizes]
    return tf.data.Dataset.from_generator(
        lambda: iter(made), output_signature=tf.TensorSpec([None], tf.int64)
    )


@pytest.mark.parametrize(("workers", "local"), [(1, 1), (1, 2), (2, 1), (3, 1), (2, 2)])
def test_the_parts_of_all_replicas_are_each_batch_in_its_order(workers, local):
    sizes, replicas = (8, 8, 3, 1), workers * local
    of_worker = [
        _parts(_batches(*sizes), WorkerRows(replicas, worker * local, local), len(sizes) * local)
        for worker in range(workers)
    ]
    first = 0
    for step, size in enumerate(sizes):
        parts = [p for mine in of_worker for p in mine[step * local : step * local + local]]
        assert len({len(index) for index, _ in parts}) == 1  # replicas have equally many
        index, rows = (np.concatenate(each) for each in zip(*parts, strict=True))
        assert index[index >= 0].tolist() == list(range(size))
        assert rows[index >= 0].tolist() == list(range(first, first + size))
        first += size


@pytest.mark.parametrize("share", [WorkerRows(1, 0, 1), WorkerRows(4, 2, 2)])
def test_the_end_shows_on_every_replica_of_a_worker(share):
    parts = _parts(_batches(4), share, 3 * share.local)
    has_ended = [bool((index == ENDED).all()) for index, _ in parts]
    assert has_ended == [False] * share.local + [True] * 2 * share.local


def test_nothing_that_fills_up_counts_in_an_evaluation():
    """An evaluation takes the leading rows whose index isn't negative."""
    for worker in range(3):
        ((index, _),) = _parts(_batches(4), WorkerRows(3, worker, 1), 1)
        count = int((index >= 0).sum())
        assert (index[:count] >= 0).all()
