"""What looks wrong has a line, and what doesn't has none."""

from collections import Counter

import numpy as np
import pytest

from tools.inspect_data.figures import Figures
from tools.inspect_data.suspicions import (
    Seen,
    of_classes,
    of_figures,
    of_label_maps,
    of_repeats,
)


def _lines(name, *values):
    figures = Figures.like(values[0])
    for one in values:
        figures.add(one)
    return list(of_figures({name: figures}))


RNG = np.random.default_rng(0)
IMAGE = RNG.random((8, 8, 3), dtype=np.float32)


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("x", np.where(IMAGE > 0.9, np.nan, IMAGE), "NaN and 0 infinite values"),
        ("y", np.float32([np.inf, 1]), "0 NaN and 1 infinite values"),
        ("x", np.float32([2, 2]), "x is 2 everywhere"),
        ("x", IMAGE * 255, "pixels that nobody scaled"),
        ("x", IMAGE / 255, "pixels that were scaled twice"),
        ("y['boxes']", np.float32([[3, 4, 20, 30]]), "in 0 to 1 of the image's sides"),
        ("sample_weight", np.float32(-0.5), "down to -0.5"),
    ],
)
def test_a_suspicious_tensor_is_named(name, values, words):
    (line,) = _lines(name, values)
    assert line.startswith(name)
    assert words in line


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("x", IMAGE),
        ("x", IMAGE * 2 - 1),
        ("x", (IMAGE - 0.5) / 0.2),
        ("x", (IMAGE * 255).astype(np.uint8)),
        ("x", np.float32([0, 200, 14])),
        ("y", np.float32([1, 1])),
        ("y['boxes']", np.float32([[0, 0.1, 0.5, 1.0]])),
        ("x", np.array(b"text", object)),
        ("sample_weight", np.float32(2)),
    ],
)
def test_an_ordinary_tensor_has_no_line(name, values):
    assert _lines(name, values) == []


@pytest.mark.parametrize(
    ("counts", "num_classes", "words"),
    [
        ({3: 9}, 4, "y is class 3 in every example"),
        ({0: 5, 1: 4, 4: 2}, 2, "y has 2 labels where 0 to 1 was expected: 4"),
        ({0: 5, -1: 2}, None, "y has 2 labels where 0 or more was expected: -1"),
        ({0: 5, 3: 4}, 4, "never has 2 of the 4 classes in what was looked at: 1, 2"),
        ({0: 5, 13: 4}, 14, "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ..."),
        ({0: 100, 1: 10}, 2, "class 0 100 times and class 1 10 times"),
    ],
)
def test_suspicious_classes_are_named(counts, num_classes, words):
    (line,) = of_classes("y", Counter(counts), num_classes)
    assert words in line


@pytest.mark.parametrize(
    ("counts", "num_classes"),
    [({0: 5, 1: 4}, 2), ({0: 99, 1: 10}, 2), ({0: 40, 1: 1}, 2), ({0: 1, 5: 1}, None), ({}, None)],
)
def test_ordinary_classes_have_no_line(counts, num_classes):
    assert list(of_classes("y", Counter(counts), num_classes)) == []


@pytest.mark.parametrize(
    ("name", "values", "num_classes", "lines"),
    [
        ("y", np.int32([[0, 255], [1, 2]]), 3, 1),
        ("y", np.int64([-1, 2]), 3, 1),
        ("y", np.uint8([[0, 2], [1, 2]]), 3, 0),
        ("y", np.int32([[0, 255]]), None, 0),
        ("y", np.float32([[0, 255]]), 3, 0),
        ("x", np.int32([[0, 255]]), 3, 0),
    ],
)
def test_labels_of_pixels_that_no_class_has_are_named(name, values, num_classes, lines):
    figures = Figures.like(values)
    figures.add(values)
    found = list(of_label_maps(name, figures, num_classes))
    assert len(found) == lines
    assert all(f"0 to {num_classes - 1} was expected" in line for line in found)


def test_what_is_there_twice_is_named():
    seen = [Seen() for _ in range(3)]
    for number, value in enumerate([1, 2, 1]):
        seen[0].add(np.array(value), number)
    seen[1].add(np.array(2), 0)
    seen[2].add(np.array(9), 0)
    within, between = of_repeats("train", seen[0], {"validation": seen[1], "test": seen[2]})
    assert within.startswith("1 examples of train have the x of an earlier one, such as number 2")
    assert (
        "1 examples of train are in validation too, such as number 1, which is number 0" in between
    )


def _seen(*xs):
    seen = Seen()
    for number, x in enumerate(xs):
        seen.add(x, number)
    return seen


def test_an_x_that_comes_again_is_counted_and_named():
    seen = _seen(np.zeros(3), np.ones(3), np.zeros(3), np.zeros(3))
    assert (seen.num_repeated, seen.an_example) == (2, (0, 2))


def test_what_two_splits_share_is_named_by_its_numbers_in_both():
    train, test = _seen(np.zeros(3), np.ones(3)), _seen(np.full(3, 2.0), np.ones(3))
    assert train.shared_with(test) == [(1, 1)]
    assert _seen(np.zeros(3)).shared_with(_seen(np.ones(3))) == []


def test_shape_dtype_and_name_count():
    plain = np.zeros(4, np.float32)
    xs = [plain, plain.reshape(2, 2), plain.view(np.int32), {"a": plain}, {"b": plain}]
    assert _seen(*xs).num_repeated == 0


def test_texts_are_compared_by_what_they_say():
    first, again = (np.array([b"".join([b"a", b"b"])], object) for _ in range(2))
    assert _seen(first, again).num_repeated == 1
    assert _seen(first, np.array([b"ac"], object)).num_repeated == 0
