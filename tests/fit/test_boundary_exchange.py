"""What a boundary carries, between invented replicas of two workers."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfscale.fit import boundary_exchange as boundary_module
from tfscale.fit.boundary_exchange import Exchange, boundary_of
from tfscale.fit.loop.verdict import Verdict
from tfscale.fit.metrics.metric_totals import MetricTotals
from tfscale.fit.state.replica_state import ReplicaStatistics
from tfscale.gradients.timing import CommunicationTimes
from tfscale.report.run_times import block_of
from tfscale.report.step_times import Block

# Of each worker: seconds, waiting for input, exposed and all communication, and two figures.
ROWS = np.array([[4.0, 0.5, 0.25, 1.0, 50.0, 100.0], [5.0, 0.0, 0.75, 2.0, 60.0, 200.0]])
NOW = 1000.0
NO_FIGURES = tf.zeros([0], tf.float64)


def _boundary(rows, *, before=0, steps=1, is_warm=True):
    verdict = Verdict(before, steps, np.zeros([len(rows), 4]))
    return boundary_of(rows, logs={"loss": 0.5}, verdict=verdict, is_warm=is_warm)


def test_each_workers_row_is_read_by_its_columns():
    boundary = _boundary(ROWS, before=20, steps=10)
    assert (boundary.step, boundary.steps, boundary.is_warm) == (30, 10, True)
    assert boundary.seconds.tolist() == [4.0, 5.0]
    assert boundary.input_wait_seconds.tolist() == [0.5, 0.0]
    assert boundary.exposed_seconds.tolist() == [0.25, 0.75]
    assert boundary.travel_seconds.tolist() == [1.0, 2.0]
    assert boundary.figures.tolist() == [[50.0, 100.0], [60.0, 200.0]]


def test_a_clock_that_is_set_back_gives_times_all_the_same():
    rows = np.array([[-3600.0, -0.5, -1.0, -2.0, -7.0]])
    boundary = _boundary(rows)
    assert block_of(boundary) == Block(steps=1, seconds=1e-6, input_wait_seconds=0.0)
    assert boundary.figures.tolist() == [[-7.0]]


def test_a_worker_may_have_no_figures():
    boundary = _boundary(ROWS[:, :4], is_warm=False)
    assert boundary.figures.shape == (2, 0)


# The one all-reduce.


class _Handed(Exception):
    """A replica has come to its all-reduce."""

    def __init__(self, value):
        super().__init__()
        self.value = value


class _Replica:
    """One replica of a job, with all that is its own; its strategy and its context in one.

    Args:
        number: of the replica.
        of: replicas of the job, two workers' or a single one.
    """

    def __init__(self, number, of):
        self.replica_id_in_sync_group, self.num_replicas_in_sync = tf.constant(number), of
        self.summed = None
        self.total, self.count = (keras.Variable(0.0, aggregation="sum") for _ in range(2))
        self.mean = keras.Variable(tf.zeros([2]), trainable=False)
        model = SimpleNamespace(
            metrics_variables=[self.total, self.count],
            non_trainable_variables=[self.mean, self.total, self.count],
        )
        self.totals = MetricTotals(model, of, {})
        self.statistics = ReplicaStatistics(self, [self.mean])
        self.communication = CommunicationTimes(tf.distribute.get_strategy())
        workers = min(of, 2)
        self.exchange = Exchange(
            self,
            self.totals,
            self.communication,
            worker=number * workers // of,
            num_workers=workers,
        )

    def run(self, function):
        return function()

    def experimental_local_results(self, value):
        return (value,)

    def sum_over_replicas(self, value):
        if self.summed is None:
            raise _Handed(value)
        return self.summed


@pytest.fixture
def exchanged(monkeypatch):
    """Lets every replica call its exchange, with one argument of each, at NOW."""
    monkeypatch.setattr(tf, "timestamp", lambda: tf.constant(NOW, tf.float64))

    def call(replica, started=NOW, waited=0.0, figures=NO_FIGURES, custom=None):
        monkeypatch.setattr(tf.distribute, "get_replica_context", lambda: replica)
        monkeypatch.setattr(boundary_module, "sum_over_replicas", replica.sum_over_replicas)
        own_figures = tf.concat([[waited], tf.cast(figures, tf.float64)], axis=0)
        begin = tf.constant(started, tf.float64)
        return replica.exchange(begin, own_figures, replica.statistics, custom or [])

    def handed(replica, arguments):
        with pytest.raises(_Handed) as caught:
            call(replica, **arguments)
        return caught.value.value

    def exchange(replicas, arguments=None):
        arguments = arguments or [{}] * len(replicas)
        summed = tf.add_n(list(map(handed, replicas, arguments)))
        for replica in replicas:
            replica.summed = summed
        return [call(replica, **own) for replica, own in zip(replicas, arguments, strict=True)]

    exchange.alone = call
    return exchange


def _replicas(of):
    return [_Replica(number, of) for number in range(of)]


@pytest.mark.parametrize("of", [2, 4])
def test_metric_totals_are_summed_over_all_replicas(exchanged, of):
    replicas = _replicas(of)
    for number, replica in enumerate(replicas):
        replica.total.assign(10.0**number)
        replica.count.assign(number + 1)
    for replica, (packed, _, _) in zip(replicas, exchanged(replicas), strict=True):
        total, count = replica.totals.packing.unpack(packed)
        assert total == sum(10.0**number for number in range(of))
        assert count == of * (of + 1) / 2


@pytest.mark.parametrize("of", [2, 4])
def test_every_replica_gets_the_mean_of_the_statistics(exchanged, of):
    replicas = _replicas(of)
    for number, replica in enumerate(replicas):
        replica.mean.assign([number, 10.0 * number])
    exchanged(replicas)
    for replica in replicas:
        np.testing.assert_allclose(replica.mean, [(of - 1) / 2, 10.0 * (of - 1) / 2])


@pytest.mark.parametrize("of", [2, 4])
def test_every_replica_gets_the_row_of_each_workers_first_replica(exchanged, of):
    replicas = _replicas(of)
    arguments = []
    for number, replica in enumerate(replicas):
        # Two buckets: ready at 10 and 11, the last sum a number of seconds later.
        end = 11.0 + number + 1
        replica.communication.observe(
            tf.constant([10.0, 11.0], tf.float64), tf.constant([10.5, end], tf.float64)
        )
        worker = number * 2 // of
        figures = [50.0 + worker, 60.0 + worker]
        arguments.append({"started": NOW - 5 - worker, "waited": 0.5 * worker, "figures": figures})
    second = of // 2  # the first replica of worker 1
    for _, rows, _ in exchanged(replicas, arguments):
        boundary = _boundary(rows.numpy())
        assert boundary.seconds.tolist() == [5.0, 6.0]
        assert boundary.input_wait_seconds.tolist() == [0.0, 0.5]
        assert boundary.exposed_seconds.tolist() == [1.0, second + 1.0]
        assert boundary.travel_seconds.tolist() == [2.0, second + 2.0]
        assert boundary.figures.tolist() == [[50.0, 60.0], [51.0, 61.0]]


@pytest.mark.parametrize("of", [2, 4])
def test_numbers_of_the_users_own_are_averaged_in_their_shapes(exchanged, of):
    first = [tf.constant(1.0, tf.float64), tf.constant([10.0, 0.0], tf.float64)]
    second = [tf.constant(2.0, tf.float64), tf.constant([30.0, 4.0], tf.float64)]
    arguments = [{"custom": first}] * (of // 2) + [{"custom": second}] * (of // 2)
    for _, _, (loss, lengths) in exchanged(_replicas(of), arguments):
        assert float(loss) == 1.5
        assert lengths.numpy().tolist() == [20.0, 2.0]


def test_one_replica_hands_nothing_around(exchanged):
    replica = _Replica(0, 1)
    replica.total.assign(3.0)
    replica.mean.assign([1.0, 2.0])
    custom = [tf.constant(4.0, tf.float64)]
    packed, rows, logs = exchanged.alone(replica, started=NOW - 2, waited=0.25, custom=custom)
    assert replica.totals.packing.unpack(packed)[0] == 3.0
    assert rows.numpy().tolist() == [[2.0, 0.25, 0.0, 0.0]]
    assert float(logs[0]) == 4.0
    np.testing.assert_array_equal(replica.mean, [1.0, 2.0])


def test_statistics_that_no_replica_changes_are_not_sent(exchanged):
    replicas = _replicas(2)
    exchanged(replicas)
    with_statistics = replicas[0].exchange.sent_bytes
    for replica in replicas:
        replica.statistics, replica.summed = ReplicaStatistics(replica, []), None
    exchanged(replicas)
    assert replicas[0].exchange.sent_bytes == with_statistics - 2 * 8 * 2 * 1 / 2
