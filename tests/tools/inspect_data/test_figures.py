"""The figures of a tensor are those of all its values."""

import numpy as np
import pytest

from tools.inspect_data.figures import Figures, named_leaves


def _figures(*examples):
    figures = Figures.like(examples[0])
    for example in examples:
        figures.add(example)
    return figures


def test_every_tensor_of_an_example_has_a_name():
    x = {"image": np.zeros([2, 2]), "meta": (np.float32(1), np.int32(2))}
    leaves = named_leaves((x, {"boxes": np.zeros([3, 4])}, np.float32(0.5)))
    assert list(leaves) == [
        *("x['image']", "x['meta'][0]", "x['meta'][1]", "y['boxes']", "sample_weight")
    ]
    assert list(named_leaves((np.zeros(2), 3))) == ["x", "y"]


def test_range_and_mean_are_of_all_examples_together():
    figures = _figures(np.float32([[1, 2]]), np.float32([[-3, 8]]))
    assert (figures.low, figures.high, figures.mean, figures.num_finite) == (-3, 8, 2, 4)
    assert figures.described() == "float32 (1, 2), -3 to 8, mean 2, 0 NaN, 0 infinite"


def test_what_is_not_finite_is_counted_and_kept_out_of_the_rest():
    figures = _figures(np.float32([1, np.nan, np.inf]), np.float32([3, -np.inf, np.nan]))
    assert (figures.num_nan, figures.num_infinite) == (2, 2)
    assert (figures.low, figures.high, figures.mean) == (1, 3, 2)
    nothing = _figures(np.float32([np.nan]))
    assert nothing.described() == "float32 (1,), 1 NaN, 0 infinite"
    assert np.isnan(nothing.mean)


@pytest.mark.parametrize(
    ("values", "described"),
    [
        (np.uint8([0, 255]), "uint8 (2,), 0 to 255, mean 127.5"),
        (np.array([True, False]), "bool (2,), 0 to 1, mean 0.5"),
        (np.array(b"a text", object), "string ()"),
        (np.zeros([0, 4], np.int64), "int64 (0, 4)"),
        (np.complex64([1 + 2j]), "complex64 (1,)"),
    ],
)
def test_a_dtype_has_the_figures_that_it_can_have(values, described):
    assert _figures(values).described() == described
