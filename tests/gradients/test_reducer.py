import numpy as np
import pytest
import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.gradients.reducer import GradientReducer, ReducerSettings
from tfscale.gradients.wires import make_wire


def _slices(values, rows, shape=(4, 2)):
    return tf.IndexedSlices(tf.constant(values, tf.float32), tf.constant(rows), tf.constant(shape))


def _reducer(wire_dtype="float32", compress="none", bucket_bytes=2**20, **rest):
    sent_as = make_wire(wire_dtype, compress, replicas=2)
    return GradientReducer(ReducerSettings(bucket_bytes, sent_as, **rest))


class _TwoReplicas:
    """A replica context of two replicas that have the same gradients."""

    num_replicas_in_sync = 2

    def __init__(self):
        self.sent = []

    def merge_call(self, function, args):
        (value,) = args
        self.sent.append(value)
        if isinstance(value, tf.IndexedSlices):
            return tf.IndexedSlices(
                tf.concat([value.values] * 2, 0),
                tf.concat([value.indices] * 2, 0),
                value.dense_shape,
            )
        return value + value


@pytest.fixture
def two_replicas(monkeypatch):
    context = _TwoReplicas()
    monkeypatch.setattr(tf.distribute, "get_replica_context", lambda: context)
    return context


def test_one_replica_has_nothing_to_reduce():
    gradients = [tf.constant([1.5]), None]
    assert _reducer("bfloat16")(gradients) == gradients


def test_gradients_are_summed_and_keep_place_shape_and_dtype(two_replicas):
    gradients = [
        tf.constant([[1.0, 2.0]]),
        None,
        tf.constant([2.0], tf.float16),
        tf.constant(4.0),
        tf.constant([0.1], tf.float64),
    ]
    summed = _reducer()(gradients)
    assert summed[1] is None
    for given, total in zip(gradients, summed, strict=True):
        if given is not None:
            assert (total.dtype, total.shape) == (given.dtype, given.shape)
            np.testing.assert_array_equal(total, 2 * given.numpy())
    assert [value.dtype for value in two_replicas.sent] == [tf.float32, tf.float16, tf.float64]


def test_the_last_gradients_leave_first_and_large_ones_in_pieces(two_replicas):
    first, second, third = (tf.range(n, dtype=tf.float32) for n in (3, 10, 2))
    summed = _reducer(bucket_bytes=16)([first, second, third])
    assert [value.shape[0] for value in two_replicas.sent] == [2, 3, 3, 4, 3]
    np.testing.assert_array_equal(two_replicas.sent[0], [0, 1])
    np.testing.assert_array_equal(two_replicas.sent[1], [0, 1, 2])
    np.testing.assert_array_equal(two_replicas.sent[-1], [0, 1, 2])
    for given, total in zip((first, second, third), summed, strict=True):
        np.testing.assert_array_equal(total, 2 * given.numpy())


@pytest.mark.parametrize("bucket_bytes", [1, 4, 12, 40, 10**6])
@pytest.mark.parametrize("wire_dtype", ["float32", "bfloat16", "float16"])
def test_any_bucket_gives_the_same_sums(two_replicas, wire_dtype, bucket_bytes):
    generator = np.random.default_rng(0)
    shapes = [(), (3,), (2, 5), (1, 1, 4), (7,)]
    gradients = [tf.constant(generator.normal(size=s), tf.float32) for s in shapes]
    tolerance = {"float32": 0, "bfloat16": 8e-3, "float16": 1e-3}[wire_dtype]
    summed = _reducer(wire_dtype, bucket_bytes=bucket_bytes)(gradients)
    for given, total in zip(gradients, summed, strict=True):
        np.testing.assert_allclose(total, 2 * given.numpy(), rtol=tolerance)


def test_rows_travel_as_rows_where_that_is_less(two_replicas):
    reducer = _reducer()
    (total,) = reducer([_slices([[1.0, 2.0]], [3], shape=(100, 2))])
    assert isinstance(total, tf.IndexedSlices)
    np.testing.assert_array_equal(tf.convert_to_tensor(total)[3], [2.0, 4.0])
    assert (reducer.traffic.sparse, reducer.traffic.densified) == (1, 0)
    assert reducer.traffic.sent_bytes == 2 * 4 + 4


def test_rows_travel_as_a_full_gradient_where_that_is_less(two_replicas):
    reducer = _reducer()
    (total,) = reducer([_slices([[1.0, 2.0]] * 9, [3] * 9)])
    np.testing.assert_array_equal(total[3], [18.0, 36.0])
    assert (reducer.traffic.sparse, reducer.traffic.densified) == (0, 1)
    assert reducer.traffic.sent_bytes == 8 * 4


def test_what_is_sent_is_counted(two_replicas):
    reducer = _reducer(bucket_bytes=16)
    reducer([tf.zeros([3]), tf.zeros([10])])
    traffic = reducer.traffic
    assert (traffic.buckets, traffic.gradient_bytes, traffic.sent_bytes) == (4, 52, 52)


def test_each_bucket_is_timed(two_replicas):
    seen = []
    reducer = _reducer(bucket_bytes=16, observe=lambda ready, done: seen.append((ready, done)))
    reducer([tf.zeros([3]), tf.zeros([10])])
    ((ready, done),) = seen
    assert ready.shape == done.shape == [4]
    assert all(ready <= done)


def test_while_bypassed_each_replica_keeps_its_own(two_replicas):
    reducer = _reducer()
    reducer.is_bypassed = True
    assert float(reducer([tf.constant(1.0)])[0]) == 1.0
    assert not two_replicas.sent


# What a lossy wire keeps back.


@pytest.mark.parametrize("compress", ["int8", "topk"])
def test_what_gets_lost_is_sent_later(two_replicas, compress):
    residual = tf.Variable(tf.zeros([40]))
    reducer = _reducer(compress=compress, residuals=[residual])
    gradient = tf.constant(np.random.default_rng(0).normal(size=40), tf.float32)
    total = sum(reducer([gradient])[0].numpy() for _ in range(50))
    np.testing.assert_allclose(total + 2 * residual.numpy(), 100 * gradient.numpy(), rtol=1e-4)
    assert np.abs(residual.numpy()).max() > 0


@pytest.mark.parametrize("compress", ["int8", "topk"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_step_that_is_not_finite_shows_and_is_not_kept(two_replicas, compress, bad):
    residual = tf.Variable(tf.fill([40], 0.5))
    reducer = _reducer(compress=compress, residuals=[residual])
    gradient = np.ones(40, np.float32)
    gradient[7] = bad
    (total,) = reducer([tf.constant(gradient)])
    assert not np.isfinite(total.numpy()).all()
    assert np.isfinite(residual.numpy()).all()


def test_a_lossy_wire_needs_all_gradients(two_replicas):
    reducer = _reducer(compress="int8", residuals=[tf.Variable([0.0]), tf.Variable([0.0])])
    with pytest.raises(ConfigError, match="updates 1 of 2"):
        reducer([tf.constant([1.0])])
