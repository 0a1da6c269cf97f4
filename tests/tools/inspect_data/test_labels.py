"""Classes are found in whatever y says them by, and what isn't of classes has none."""

from collections import Counter

import numpy as np
import pytest

from tools.inspect_data.labels import caption_of, classes_of, count_rows

CLASSIFICATION = "classification"
BOXES = {"boxes": np.zeros([3, 4], np.float32), "classes": np.array([5, 2, -1])}


@pytest.mark.parametrize(
    ("y", "task", "classes", "caption"),
    [
        (np.int64(3), CLASSIFICATION, {"y": [3]}, "3"),
        (np.array([3], np.int32), CLASSIFICATION, {"y": [3]}, "3"),
        (np.float32(1.0), CLASSIFICATION, {"y": [1]}, "1"),
        (np.float32([0, 0, 1]), CLASSIFICATION, {"y": [2]}, "2"),
        (np.float32([0.05, 0.9, 0.05]), CLASSIFICATION, {"y": [1]}, "1"),
        (np.float32([4, 7]), CLASSIFICATION, {}, ""),
        (np.float32([1, 0, 1, 0]), "multilabel", {"y": [0, 2]}, "0, 2"),
        (np.float32([0, 0]), "multilabel", {"y": []}, "none"),
        (np.float32(0.52345), "regression", {}, "0.5235"),
        (np.int64(3), "regression", {}, "3"),
        (BOXES, "detection", {"y['classes']": [5, 2]}, "classes 5, 2"),
        (np.array(b"cat", object), CLASSIFICATION, {}, "cat"),
        (
            {"a": np.int64(1), "b": np.int64(0)},
            CLASSIFICATION,
            {"y['a']": [1], "y['b']": [0]},
            "a 1; b 0",
        ),
        (np.arange(12) < 11, "multilabel", {"y": list(range(11))}, "0, 1, 2, 3, 4, 5, 6, 7, ..."),
    ],
)
def test_the_classes_of_a_y_and_what_stands_under_its_picture(y, task, classes, caption):
    assert classes_of(y, task) == classes
    assert caption_of(y, task) == caption


def test_every_class_has_a_row_with_its_count_and_share():
    rows = count_rows(Counter({0: 3, 2: 1, 7: 4}), 4)
    assert rows == {
        "class 0": "3 (37.5 %)",
        "class 1": "0 (0.0 %)",
        "class 2": "1 (12.5 %)",
        "class 3": "0 (0.0 %)",
        "class 7": "4 (50.0 %)",
    }


def test_of_many_classes_the_most_and_the_least_frequent_have_rows():
    counts = Counter({number: number + 1 for number in range(100)})
    rows = count_rows(counts, 100, most=4)
    assert list(rows) == ["class 99", "class 98", "class 1", "class 0", "others"]
    assert rows["others"].startswith("96 classes")
