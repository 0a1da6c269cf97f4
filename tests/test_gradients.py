import numpy as np
import pytest
import tensorflow as tf

from tfscale.gradients import GradientReducer, _by_dtype, mean_of


def _slices(values, rows, shape=(4, 2)):
    return tf.IndexedSlices(tf.constant(values, tf.float32), tf.constant(rows), tf.constant(shape))


def _reducer(wire_dtype="float32"):
    return GradientReducer(bucket_bytes=2**20, wire_dtype=wire_dtype)


class _TwoReplicas:
    """A replica context of two replicas that have the same gradients."""

    num_replicas_in_sync = 2

    def __init__(self):
        self.sent = []

    def all_reduce(self, operation, values, options):
        assert operation == tf.distribute.ReduceOp.SUM
        self.sent.append((values, options))
        return [value + value for value in values]


@pytest.fixture
def two_replicas(monkeypatch):
    context = _TwoReplicas()
    monkeypatch.setattr(tf.distribute, "get_replica_context", lambda: context)
    return context


# Micro-batches.


def test_the_mean_is_of_each_variable_by_itself():
    parts = [[tf.constant([float(k), 1.0]), tf.constant(2.0 * k)] for k in (1, 2, 6)]
    first, second = mean_of(parts)
    np.testing.assert_allclose(first, [3.0, 1.0])
    assert float(second) == 6.0


def test_a_single_micro_batch_passes_through():
    gradients = [tf.constant(1.0), None, _slices([[1.0, 2.0]], [3])]
    assert all(ours is theirs for ours, theirs in zip(mean_of([gradients]), gradients, strict=True))


def test_gradients_of_rows_stay_gradients_of_rows():
    (mean,) = mean_of([[_slices([[2.0, 4.0]], [3])], [_slices([[6.0, 8.0], [2.0, 2.0]], [3, 0])]])
    assert isinstance(mean, tf.IndexedSlices)
    np.testing.assert_allclose(
        tf.convert_to_tensor(mean), [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [4.0, 6.0]]
    )


def test_rows_and_a_full_gradient_have_a_full_mean():
    (mean,) = mean_of([[_slices([[2.0, 4.0]], [3])], [tf.ones([4, 2])]])
    np.testing.assert_allclose(mean, [[0.5, 0.5]] * 3 + [[1.5, 2.5]])


def test_a_variable_without_a_gradient_has_none():
    nothing, mean = mean_of([[None, tf.constant(1.0)], [None, tf.constant(3.0)]])
    assert nothing is None
    assert float(mean) == 2.0


def test_a_micro_batch_without_a_gradient_counts_as_zero():
    (mean,) = mean_of([[None], [tf.constant(3.0)]])
    assert float(mean) == 1.5


# Reduction.


def test_gradients_of_one_dtype_travel_together_in_their_order():
    gradients = [
        tf.zeros([2], tf.float32),
        None,
        tf.zeros([3], tf.float16),
        _slices([[1.0, 2.0]], [0]),
        tf.zeros([], tf.float16),
    ]
    assert _by_dtype(gradients) == {tf.float32: [0, 3], tf.float16: [2, 4]}


def test_one_replica_has_nothing_to_reduce():
    gradients = [tf.constant([1.5]), None]
    assert _reducer("bfloat16")(gradients) == gradients


def test_gradients_are_summed_and_keep_place_and_dtype(two_replicas):
    gradients = [tf.constant([1.0]), None, tf.constant([2.0], tf.float16), tf.constant([4.0])]
    first, nothing, half, last = _reducer()(gradients)
    assert nothing is None
    assert (float(first[0]), float(half[0]), float(last[0])) == (2.0, 4.0, 8.0)
    assert (first.dtype, half.dtype, last.dtype) == (tf.float32, tf.float16, tf.float32)
    assert [len(values) for values, _ in two_replicas.sent] == [2, 1]


def test_the_size_of_a_bucket_reaches_the_all_reduce(two_replicas):
    GradientReducer(bucket_bytes=12345, wire_dtype="float32")([tf.constant([1.0])])
    ((_, options),) = two_replicas.sent
    assert options.bytes_per_pack == 12345


@pytest.mark.parametrize("wire_dtype", ["bfloat16", "float16"])
def test_gradients_travel_in_the_wire_dtype_and_arrive_in_their_own(two_replicas, wire_dtype):
    (total,) = _reducer(wire_dtype)([tf.constant([1.0, 0.1])])
    ((sent,),) = [values for values, _ in two_replicas.sent]
    assert sent.dtype == tf.as_dtype(wire_dtype)
    assert total.dtype == tf.float32
    np.testing.assert_allclose(total, [2.0, 0.2], rtol=1e-2)
    assert float(total[1]) != 2 * np.float32(0.1), "0.1 must have lost digits on its way"


def test_gradients_travel_as_they_are_unless_asked_otherwise(two_replicas):
    gradient = tf.constant([0.1], tf.float64)
    (total,) = _reducer()([gradient])
    ((sent,),) = [values for values, _ in two_replicas.sent]
    assert sent is gradient
    assert float(total[0]) == 0.2


def test_the_values_of_rows_travel_in_the_wire_dtype():
    cast = GradientReducer._cast(_slices([[1.0, 2.0]], [3]), tf.float16)
    assert isinstance(cast, tf.IndexedSlices)
    assert cast.values.dtype == tf.float16
    np.testing.assert_array_equal(cast.indices, [3])
