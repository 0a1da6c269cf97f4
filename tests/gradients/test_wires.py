"""Wires between invented replicas, which send in step with each other."""

import threading

import numpy as np
import pytest
import tensorflow as tf

from tfscale.errors import ConfigError
from tfscale.gradients.wires import make_wire

pytestmark = pytest.mark.promise("wires")


class _Ring:
    """Sums what all replicas hand in, each from a thread of its own."""

    def __init__(self, replicas):
        self._barrier = threading.Barrier(replicas, timeout=30)
        self._values = [None] * replicas

    def of(self, replica):
        def reduce(value):
            self._values[replica] = value
            self._barrier.wait()
            values = list(self._values)
            self._barrier.wait()
            if isinstance(value, tf.IndexedSlices):
                return tf.IndexedSlices(
                    tf.concat([part.values for part in values], 0),
                    tf.concat([part.indices for part in values], 0),
                    value.dense_shape,
                )
            total = values[0]
            for part in values[1:]:
                total = total + part
            return total

        return reduce


def _sent(arrays, dtype="float32", compress="none"):
    """What each replica gets and what its own part was."""
    ring, results = _Ring(len(arrays)), [None] * len(arrays)

    def run(replica):
        given = make_wire(dtype, compress, len(arrays))
        results[replica] = given.send(tf.constant(arrays[replica]), ring.of(replica))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(arrays))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    totals = [total.numpy() for total, _ in results]
    for total in totals[1:]:
        np.testing.assert_array_equal(total, totals[0])
    return totals[0], [None if own is None else own.numpy() for _, own in results]


def _arrays(replicas, size=37, scale=1.0):
    generator = np.random.default_rng(replicas)
    return [generator.normal(size=size, scale=scale).astype(np.float32) for _ in range(replicas)]


@pytest.mark.parametrize("replicas", [2, 3, 8])
@pytest.mark.parametrize(
    ("dtype", "digits"), [("float32", 1e-6), ("bfloat16", 0.03), ("float16", 3e-3)]
)
def test_sums_are_as_precise_as_the_dtype(dtype, digits, replicas):
    arrays = _arrays(replicas)
    total, owns = _sent(arrays, dtype)
    np.testing.assert_allclose(total, sum(arrays), atol=digits * replicas)
    assert owns == [None] * replicas


@pytest.mark.parametrize("scale", [1e-20, 1e-12, 1.0, 2.0**15, 1e8, 1e30])
def test_float16_neither_overflows_nor_vanishes(scale):
    arrays = _arrays(4, scale=scale)
    total, _ = _sent(arrays, "float16")
    np.testing.assert_allclose(total / scale, sum(arrays) / scale, atol=0.02)


@pytest.mark.parametrize(
    ("dtype", "compress"),
    [("float16", "none"), ("bfloat16", "none"), ("float32", "int8"), ("float32", "topk")],
)
def test_zeros_stay_zeros(dtype, compress):
    total, _ = _sent([np.zeros(9, np.float32)] * 2, dtype, compress)
    np.testing.assert_array_equal(total, np.zeros(9))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("dtype", "compress"),
    [("float16", "none"), ("bfloat16", "none"), ("float32", "int8"), ("float32", "topk")],
)
def test_what_is_not_finite_on_one_replica_shows_on_all(dtype, compress, bad):
    arrays = _arrays(3)
    arrays[1][5] = bad
    total, _ = _sent(arrays, dtype, compress)
    assert not np.isfinite(total[5])


@pytest.mark.parametrize("replicas", [2, 3, 8, 32, 64])
def test_int8_never_overflows_and_is_within_half_a_step_of_each(replicas):
    arrays = _arrays(replicas)
    arrays[0][:3] = 50.0
    for extreme in (
        arrays,
        [np.full(5, 7.0, np.float32)] * replicas,
        [-np.ones(4, np.float32)] * replicas,
    ):
        total, owns = _sent(extreme, compress="int8")
        step = sum(np.abs(array).max() for array in extreme) / (127 - replicas / 2)
        assert np.abs(total - sum(extreme)).max() <= step / 2 * replicas * 1.001
        np.testing.assert_allclose(total, sum(owns), atol=1e-4 * step * replicas)
        for array, own in zip(extreme, owns, strict=True):
            assert np.abs(array - own).max() <= step / 2 * 1.001


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 1001])
def test_int8_takes_any_size(size):
    arrays = _arrays(2, size=size)
    total, _ = _sent(arrays, compress="int8")
    assert total.shape == (size,)
    assert np.abs(total - sum(arrays)).max() < 0.2


def test_topk_sends_the_largest_of_each_and_sums_what_meets():
    first, second = np.zeros(40, np.float32), np.zeros(40, np.float32)
    first[[3, 8]], second[[3, 9]] = [5.0, -7.0], [1.0, 0.5]
    total, owns = _sent([first, second], compress="topk")
    expected = np.zeros(40, np.float32)
    expected[[3, 8, 9]] = [6.0, -7.0, 0.5]
    np.testing.assert_array_equal(total, expected)
    np.testing.assert_array_equal(owns[0], first)
    np.testing.assert_array_equal(owns[1], second)


@pytest.mark.parametrize(
    ("dtype", "compress", "replicas", "sent"),
    [
        ("float32", "none", 2, 4000),
        ("float32", "none", 4, 6000),
        ("bfloat16", "none", 2, 2000),
        ("float16", "none", 2, 2004),
        ("float32", "int8", 2, 1004),
        ("float32", "topk", 2, 400),
        ("float32", "topk", 4, 1200),
    ],
)
def test_the_bytes_of_a_thousand_elements(dtype, compress, replicas, sent):
    assert make_wire(dtype, compress, replicas).bytes_sent(1000, 4, replicas) == sent


def test_int8_refuses_more_replicas_than_eight_bits_can_sum():
    with pytest.raises(ConfigError, match="at most 64"):
        make_wire("float32", "int8", 65)
