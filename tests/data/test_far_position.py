"""A run goes on late in a large split as if it had never stopped."""

from itertools import pairwise
from types import SimpleNamespace

import pytest
import tensorflow as tf

from tfscale.data.formats import tfrecord
from tfscale.data.sharding import Sharding, pass_order
from tfscale.data.sources.dataset_file import read_dataset_file
from tfscale.data.sources.source import source_of
from tfscale.data.training_batches import training_input
from tools.bench.reading.files import write_numbers

pytestmark = pytest.mark.promise("far")

RECORDS, POSITION, BATCH, SEED = 1_000_000, 900_000, 100, 5


def _preprocess(record, training, seed):
    number = tf.io.decode_raw(record, tf.int64)[0]
    return tf.random.stateless_uniform([], seed), number


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A TFRecord file of the numbers below a million, with its index."""
    path = tmp_path_factory.mktemp("numbers") / "numbers.tfrecord"
    write_numbers(path, RECORDS)
    yield str(path)
    path.unlink()


def _taken(path, first_step, steps, workers=1, worker=0):
    """`(drawn, numbers)` of each step from one on."""
    file = read_dataset_file(
        SimpleNamespace(
            __name__="mine", load=lambda split: tfrecord.records(path), preprocess=_preprocess
        )
    )
    sharding = Sharding(BATCH, workers, worker, 1)
    strategy = tf.distribute.get_strategy()
    made = training_input(file, source_of(file, "train"), sharding, strategy, seed=SEED)
    made.seek(first_step)
    made.start()
    return [[leaf.numpy().tolist() for leaf in next(made.iterator)] for _ in range(steps)]


def test_at_record_900000_of_a_million_the_next_100_batches_are_those_of_a_run_without_a_break(
    path,
):
    first = POSITION // BATCH
    after = _taken(path, first, 100)
    unbroken = _taken(path, first - 50, 150)
    assert unbroken[50:] == after
    assert all(one != other for one, other in pairwise(unbroken))
    # From the very beginning the order is known without reading.
    order = pass_order(tf.constant(0, tf.int64), num_examples=RECORDS, seed=SEED).numpy()
    numbers = [number for _, step in after for number in step]
    assert numbers == order[POSITION : POSITION + 100 * BATCH].tolist()


def test_two_workers_go_on_there_with_half_of_each_step(path):
    first = POSITION // BATCH
    halves = [_taken(path, first, 3, 2, worker) for worker in (0, 1)]
    together = [
        [left + right for left, right in zip(*steps, strict=True)]
        for steps in zip(*halves, strict=True)
    ]
    assert together == _taken(path, first, 3)
