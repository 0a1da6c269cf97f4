import keras
import numpy as np
import pytest
import tensorflow as tf

from tfscale.config import ConfigError
from tfscale.gradients import Accumulator, GradientReducer, _by_dtype, apply_after_reduction


def _slices(values, rows, shape=(4, 2)):
    return tf.IndexedSlices(tf.constant(values, tf.float32), tf.constant(rows), tf.constant(shape))


def _reducer(wire_dtype="float32"):
    return GradientReducer(bucket_bytes=2**20, wire_dtype=wire_dtype)


def _variable(value):
    return keras.Variable(np.asarray(value, np.float32))


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


def test_the_mean_comes_with_the_last_micro_batch():
    accumulator = Accumulator(3)
    parts = [[tf.constant([float(k), 1.0])] for k in (1, 2, 6)]
    assert accumulator.add(parts[0]) is None
    assert accumulator.add(parts[1]) is None
    (mean,) = accumulator.add(parts[2])
    np.testing.assert_allclose(mean, [3.0, 1.0])


def test_the_next_step_starts_empty():
    accumulator = Accumulator(2)
    for first in (1.0, 10.0):
        assert accumulator.add([tf.constant(first)]) is None
        (mean,) = accumulator.add([tf.constant(3 * first)])
        assert float(mean) == 2 * first


def test_a_single_micro_batch_passes_through():
    gradients = [tf.constant(1.0), None, _slices([[1.0, 2.0]], [3])]
    passed = Accumulator(1).add(gradients)
    assert all(ours is theirs for ours, theirs in zip(passed, gradients, strict=True))


def test_gradients_of_rows_stay_gradients_of_rows():
    accumulator = Accumulator(2)
    accumulator.add([_slices([[2.0, 4.0]], [3])])
    (mean,) = accumulator.add([_slices([[6.0, 8.0], [2.0, 2.0]], [3, 0])])
    assert isinstance(mean, tf.IndexedSlices)
    np.testing.assert_allclose(
        tf.convert_to_tensor(mean), [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [4.0, 6.0]]
    )


def test_rows_and_a_full_gradient_have_a_full_mean():
    accumulator = Accumulator(2)
    accumulator.add([_slices([[2.0, 4.0]], [3])])
    (mean,) = accumulator.add([tf.ones([4, 2])])
    np.testing.assert_allclose(mean, [[0.5, 0.5]] * 3 + [[1.5, 2.5]])


def test_a_variable_without_a_gradient_has_none():
    accumulator = Accumulator(2)
    accumulator.add([None, tf.constant(1.0)])
    nothing, mean = accumulator.add([None, tf.constant(3.0)])
    assert nothing is None
    assert float(mean) == 2.0


def test_a_micro_batch_without_a_gradient_counts_as_zero():
    accumulator = Accumulator(2)
    accumulator.add([None])
    (mean,) = accumulator.add([tf.constant(3.0)])
    assert float(mean) == 1.5


def test_a_micro_batch_waits_for_the_gradients_of_the_one_before():
    accumulator = Accumulator(2)
    assert accumulator.dependencies == []
    dense, rows = tf.constant(1.0), _slices([[1.0, 2.0]], [3])
    accumulator.add([dense, None, rows])
    waited_for = accumulator.dependencies
    assert any(tensor is dense for tensor in waited_for)
    assert any(tensor is rows.values for tensor in waited_for)
    accumulator.add([dense, None, rows])
    assert accumulator.dependencies == []


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


# The optimizer.


def _reduced(optimizer, reduce, count=1):
    apply_after_reduction(optimizer, reduce, Accumulator(count))
    return optimizer


def _doubled(gradients):
    return [gradient if gradient is None else gradient * 2 for gradient in gradients]


def test_gradients_are_reduced_before_they_are_clipped():
    # Two replicas with (0.6, 0): clipped first it would be 1.2, clipped last it is 1.
    optimizer = _reduced(keras.optimizers.SGD(1.0, clipnorm=1.0), _doubled)
    variable = _variable([0.0, 0.0])
    optimizer.apply([tf.constant([0.6, 0.0])], [variable])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), [-1.0, 0.0], rtol=1e-6)


@pytest.mark.parametrize("clipping", [{"clipvalue": 1.0}, {"global_clipnorm": 1.0}])
def test_every_way_to_clip_comes_after_the_reduction(clipping):
    optimizer = _reduced(keras.optimizers.SGD(1.0, **clipping), _doubled)
    variable = _variable([0.0])
    optimizer.apply([tf.constant([0.6])], [variable])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), [-1.0], rtol=1e-6)


def test_a_train_step_of_the_users_own_is_reduced_too():
    optimizer = _reduced(keras.optimizers.SGD(1.0), _doubled)
    variable = _variable([0.0])
    optimizer.apply_gradients([(tf.constant([0.5]), variable)])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), [-1.0])


def test_micro_batches_are_reduced_and_applied_once():
    reduced = []

    def reduce(gradients):
        reduced.append(float(gradients[0][0]))
        return list(gradients)

    optimizer = _reduced(keras.optimizers.SGD(1.0), reduce, count=2)
    variable = _variable([0.0])
    for value in (1.0, 3.0):
        optimizer.apply([tf.constant([value])], [variable])
    assert reduced == [2.0]
    assert int(optimizer.iterations) == 1
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), [-2.0])


def test_an_overflow_on_another_replica_keeps_the_step_from_the_weights():
    def overflowing(gradients):
        return [gradient * np.inf for gradient in gradients]

    inner = keras.optimizers.SGD(1.0)
    optimizer = _reduced(keras.optimizers.LossScaleOptimizer(inner, initial_scale=8.0), overflowing)
    variable = _variable([1.0])
    optimizer.build([variable])
    optimizer.apply([tf.constant([0.5])], [variable])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), [1.0])
    assert int(inner.iterations) == 0
    assert float(optimizer.dynamic_scale) == 4.0


def test_a_scaled_loss_is_unscaled_once_and_reduced_once():
    inner = keras.optimizers.SGD(1.0)
    optimizer = _reduced(keras.optimizers.LossScaleOptimizer(inner, initial_scale=8.0), _doubled)
    variable = _variable([0.0])
    optimizer.build([variable])
    optimizer.apply([tf.constant([4.0])], [variable])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), [-1.0])


def test_the_reduction_of_keras_is_off_on_every_layer_of_the_optimizer(two_replicas):
    inner = keras.optimizers.SGD(1.0)
    optimizer = _reduced(keras.optimizers.LossScaleOptimizer(inner), _doubled)
    pairs = [(tf.constant(1.0), _variable(0.0))]
    assert optimizer._all_reduce_sum_gradients(pairs) == pairs
    assert inner._all_reduce_sum_gradients(pairs) == pairs
    assert two_replicas.sent == []


@pytest.mark.parametrize(
    "wrapped", [lambda inner: inner, lambda inner: keras.optimizers.LossScaleOptimizer(inner)]
)
def test_an_optimizer_that_accumulates_by_itself_is_refused_with_the_flag_that_does(wrapped):
    optimizer = wrapped(keras.optimizers.AdamW(gradient_accumulation_steps=4))
    with pytest.raises(ConfigError) as caught:
        _reduced(optimizer, _doubled)
    assert "AdamW(gradient_accumulation_steps=4) accumulates after the all-reduce" in str(
        caught.value
    )
    assert "--accumulate_steps=4" in str(caught.value)
