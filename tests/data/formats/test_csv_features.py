import re
import shlex

import numpy as np
import pytest

from tfscale.data.formats import csv_features
from tfscale.errors import ConfigError

ROWS = 12
NOISE = np.random.default_rng(0).normal(size=ROWS).round(3)
LABELS = [("dog", "wolf", "sheep")[row // 4] for row in range(ROWS)]


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "train.csv")


def _write(path, columns, rows=ROWS, labels=LABELS):
    """A table with columns before one of noise and the label."""
    columns = [*columns, ("noise", NOISE), ("label", labels)]
    lines = [",".join(name for name, _ in columns)]
    lines += [",".join(str(values[row]) for _, values in columns) for row in range(rows)]
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines))


def _refusal(path, **options):
    with pytest.raises(ConfigError) as refused:
        csv_features.feature_names(path, "label", **options)
    return str(refused.value)


def _typed(reason, name):
    """The value of an option in the command that a refusal shows."""
    words = shlex.split(re.search(rf"'?--dataset_option={name}=.*?(?=\. |\.$)", reason)[0])
    return words[0].removeprefix(f"--dataset_option={name}=")


def test_a_column_without_a_name_is_no_feature(path):
    _write(path, [("", range(ROWS)), ("  ", range(ROWS)), ("age", NOISE)])
    assert csv_features.feature_names(path, "label") == ["age", "noise"]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("id", range(ROWS)),
        ("index", range(1, ROWS + 1)),
        ("Unnamed: 0", range(ROWS)),
        ("even", range(10, 10 + 2 * ROWS, 2)),
        ("down", range(ROWS, 0, -1)),
        ("floats", [float(row) for row in range(ROWS)]),
        ("large", range(10**17, 10**17 + ROWS)),
        ("shuffled", [5 * row % ROWS for row in range(ROWS)]),
        ('"row, number"', range(ROWS)),
    ],
)
def test_a_column_that_counts_the_rows_is_refused_with_what_to_type(path, name, values):
    _write(path, [(name, values)])
    reason = _refusal(path)
    plain = name.strip('"')
    first = ", ".join(str(int(value)) for value in list(values)[:3])
    assert f"{path}: {plain} counts the rows ({first}, ...); expected features that" in reason
    left = csv_features.feature_names(path, "label", exclude=_typed(reason, "exclude"))
    kept = csv_features.feature_names(path, "label", features=_typed(reason, "features"))
    assert (left, kept) == (["noise"], [plain, "noise"])


@pytest.mark.parametrize(
    "values",
    [
        [row / 2 for row in range(ROWS)],
        [*range(ROWS - 1), ROWS],
        [*range(ROWS - 1), ROWS - 2],
        [row // 2 for row in range(ROWS)],
        [7] * ROWS,
        [*range(ROWS - 1), "x"],
    ],
)
def test_other_numbers_are_features(path, values):
    _write(path, [("x", values)])
    assert csv_features.feature_names(path, "label") == ["x", "noise"]


@pytest.mark.parametrize("codes", [(0, 1, 2), (7, 3, 5), (0.5, -1.5, 2.0)])
def test_a_column_that_repeats_the_label_is_refused(path, codes):
    _write(path, [("code", [codes[row // 4] for row in range(ROWS)])])
    reason = _refusal(path)
    assert "code repeats label: each class has a value of its own" in reason
    assert _typed(reason, "exclude") == "code"


def test_a_column_with_a_value_for_two_classes_or_two_values_for_one_is_a_feature(path):
    some = [int(label == "dog") for label in LABELS]
    many = [0, 1, *[2] * 6, *[3] * 4]
    _write(path, [("some", some), ("many", many)])
    assert csv_features.feature_names(path, "label") == ["some", "many", "noise"]


@pytest.mark.parametrize("marked", [("dog", "wolf", "sheep"), ("dog", "wolf")])
def test_a_column_for_each_class_is_refused_with_all_of_them(path, marked):
    _write(path, [(name, [int(label == name) for label in LABELS]) for name in marked])
    reason = _refusal(path)
    assert f"{', '.join(marked)} repeat label: a column for each class" in reason
    assert _typed(reason, "exclude") == ",".join(marked)


def test_all_of_them_are_named_beside_what_is_excluded(path):
    doubled = [2 * (row // 4) for row in range(ROWS)]
    _write(path, [("id", range(ROWS)), ("name", LABELS), ("code", doubled)])
    reason = _refusal(path, exclude="name")
    assert "id counts the rows (0, 1, 2, ...); code repeats label" in reason
    assert _typed(reason, "exclude") == "name,id,code"


def test_what_pandas_calls_a_column_without_a_name_is_refused_whatever_it_holds(path):
    _write(path, [("Unnamed: 0", [row * row for row in range(ROWS)])])
    assert "Unnamed: 0 is what pandas calls a column without a name" in _refusal(path)
    named = csv_features.feature_names(path, "label", features="Unnamed: 0, noise")
    assert named == ["Unnamed: 0", "noise"]


def test_a_few_rows_tell_nothing_and_so_do_labels_that_are_all_different(path):
    _write(path, [("id", range(ROWS)), ("code", LABELS)], rows=4)
    assert csv_features.feature_names(path, "label") == ["id", "code", "noise"]
    _write(path, [], labels=[f"{value:.2f}" for value in np.linspace(3, 4, ROWS)])
    assert csv_features.feature_names(path, "label") == ["noise"]


def test_what_only_begins_like_a_counter_is_a_feature_and_what_counts_to_the_end_is_none(path):
    many = 200_000  # more than is looked at first
    for last, is_refused in ((many - 1, True), (many, False)):
        with open(path, "w") as file:
            file.write("id,x,label\n")
            file.writelines(f"{row},{row % 7},{row % 2}\n" for row in range(many - 1))
            file.write(f"{last},0,0\n")
        if is_refused:
            assert "id counts the rows" in _refusal(path)
        else:
            assert csv_features.feature_names(path, "label") == ["id", "x"]


def test_names_that_are_not_there_and_tables_without_features_are_refused(path):
    _write(path, [])
    assert "has no column 'ids'; expected it among noise, label" in _refusal(path, exclude="ids")
    assert "has no column 'x'" in _refusal(path, features="noise,x")
    assert "has no column for features beside label" in _refusal(path, exclude="noise")
    assert "are both given" in _refusal(path, features="noise", exclude="noise")
