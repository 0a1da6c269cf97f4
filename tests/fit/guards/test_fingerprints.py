from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tfscale.fit.guards.fingerprints import Fingerprints

DTYPES = ("float16", "bfloat16", "float32", "float64", "int8", "int32", "int64", "uint32", "bool")
SIZES = (1, 127, 128, 129, 256, 300, 1024, 1031)


def _print_of(values, dtype="float32"):
    (found,) = _prints(one=tf.Variable(tf.constant(values, dtype), shape=tf.TensorShape(None)))[1]
    return found


def _prints(**variables):
    """The names and the prints of what Keras's variables have as their values."""
    shared = {name: SimpleNamespace(value=one, dtype=one.dtype) for name, one in variables.items()}
    prints = Fingerprints(tf.distribute.get_strategy(), shared)
    return prints.names, prints.read()


def _flipped(values, place, bit):
    array = np.array(values)
    array.view(np.uint8)[place * array.itemsize + bit // 8] ^= 1 << bit % 8
    return array


@pytest.mark.parametrize("size", SIZES)
def test_each_bit_counts_wherever_it_is(size):
    values = np.random.default_rng(size).normal(size=size).astype("float32")
    plain = _print_of(values)
    assert _print_of(values) == plain
    for place in {0, size // 2, size - 1}:
        for bit in (0, 7, 15, 16, 23, 31):
            assert _print_of(_flipped(values, place, bit)) != plain, (place, bit)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_has_one(dtype):
    values = np.random.default_rng(3).integers(0, 2, size=(7, 90))
    others = values.copy()
    others[3, 50] ^= 1
    assert len(_print_of(values, dtype)) == 8
    assert _print_of(values, dtype) != _print_of(others, dtype)


def test_values_that_change_places_are_seen():
    values = np.arange(1000, dtype="float32")
    others = values.copy()
    others[[100, 101]] = others[[101, 100]]
    assert _print_of(values) != _print_of(others)


def test_changes_that_cancel_each_other_are_seen():
    values = np.full(1000, 1.5, "float32")
    others = _flipped(_flipped(values, 10, 3), 20, 22)  # one bit is set; another one is cleared
    others = _flipped(others, 30, 3)
    assert _print_of(values) != _print_of(others)
    pieces = np.arange(300, dtype="int64")
    less = pieces.copy()
    less[5] += 1
    less[77] -= 1
    assert _print_of(pieces, "int64") != _print_of(less, "int64")


def test_not_a_number_is_a_pattern_of_bits_as_any():
    values = np.full(10, np.nan, "float32")
    assert _print_of(values) == _print_of(values)
    assert _print_of(values) != _print_of(_flipped(values, 4, 0))


def test_scalars_and_texts():
    names, (found,) = _prints(step=tf.Variable(3), text=tf.Variable("a"), flag=tf.Variable(True))
    assert names == ["step", "flag"]
    assert len(found) == 16


def test_large_sums_stay_exact():
    values = np.full(2**22, 0xFFFFFFFF, "uint32")
    others = values.copy()
    others[2**21] ^= 1
    assert _print_of(values, "uint32") != _print_of(others, "uint32")
