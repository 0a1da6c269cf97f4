import pytest
import tensorflow as tf

from tfscale.fit.callbacks.no_exchange import no_exchange

STRATEGY = tf.distribute.MirroredStrategy(["CPU:0"])


def _refuse():
    raise LookupError("all workers would have to take part")


@pytest.fixture
def variables():
    with STRATEGY.scope():
        shared = tf.Variable(1.0)
        own = tf.Variable(
            2.0,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
    return shared, own


def test_what_is_assigned_is_noted_and_assigned(variables):
    shared, _ = variables
    assigned = []
    with no_exchange(STRATEGY, assigned.append, _refuse), STRATEGY.scope():
        shared.assign(3.0)
        assert float(shared.read_value()) == 3.0
    assert len(assigned) == 1 and assigned[0] is shared
    with STRATEGY.scope():
        shared.assign(4.0)
    assert len(assigned) == 1


@pytest.mark.parametrize(
    "exchange",
    [
        lambda shared, own: own.read_value(),
        lambda shared, own: STRATEGY.reduce("SUM", own, axis=None),
        lambda shared, own: STRATEGY.extended.batch_reduce_to("SUM", [(own, shared)]),
        lambda shared, own: STRATEGY.gather(tf.ones([1]), axis=0),
    ],
)
def test_what_needs_the_others_is_refused_and_done_afterwards(variables, exchange):
    with STRATEGY.scope():
        with pytest.raises(LookupError), no_exchange(STRATEGY, lambda _: None, _refuse):
            exchange(*variables)
        assert exchange(*variables) is not None
