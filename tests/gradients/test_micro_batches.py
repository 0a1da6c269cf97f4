import numpy as np
import pytest
import tensorflow as tf

from tfscale.gradients.micro_batches import mean_of, part_of


def _slices(values, rows, shape=(4, 2)):
    return tf.IndexedSlices(tf.constant(values, tf.float32), tf.constant(rows), tf.constant(shape))


# A step's batch in parts.


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_parts_one_after_the_other_are_the_batch(count):
    batch = tf.reshape(tf.range(24), [12, 2])
    parts = [part_of(batch, part, count) for part in range(count)]
    assert {part.shape[0] for part in parts} == {12 // count}
    np.testing.assert_array_equal(tf.concat(parts, 0), batch)


def test_rows_that_belong_together_stay_together_in_any_structure():
    numbers = tf.range(4)
    batch = (
        {"number": numbers, "word": tf.strings.as_string(numbers)},
        tf.one_hot(numbers, 4),
        tf.cast(numbers, tf.float32) / 2,
    )
    x, y, weight = part_of(batch, 1, 2)
    assert list(x) == ["number", "word"]
    assert x["number"].numpy().tolist() == [2, 3]
    assert x["word"].numpy().tolist() == [b"2", b"3"]
    assert y.numpy().argmax(1).tolist() == [2, 3]
    assert weight.numpy().tolist() == [1.0, 1.5]


def test_the_size_of_a_part_is_known_while_a_step_is_traced():
    traced = tf.function(lambda batch: part_of(batch, 2, 3)).get_concrete_function(
        tf.TensorSpec([12, 5])
    )
    assert traced.output_shapes == [4, 5]


# The mean of the parts' gradients.


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
