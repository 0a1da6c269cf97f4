"""Which columns of a table are features, and which would give the answer away.

A counter of the rows, which programs like to write beside them, tells the class wherever rows are
sorted by class; so does a second column for the label. A model learns either to perfection, and
nothing else. No such column is dropped in silence, because the data is the user's: the table is
refused, with the option that leaves the column out and the one that keeps it.
"""

import csv
import os
import re
import shlex
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tfscale.data.formats.csv_reading import column_names, read, require_columns, shown
from tfscale.errors import ConfigError
from tfscale.structures import Foreign

# In fewer, whole numbers of a single digit have one step between them by chance.
_FEWEST_ROWS = 5
_MOST_TYPED = 8  # names in a command that is shown
_WITHOUT_NAME = re.compile(r"Unnamed: \d+")  # what pandas calls such a column when it reads it


def feature_names(path: str, label: str, *, features: str = "", exclude: str = "") -> list[str]:
    """The columns of a table that are features, in its order.

    Columns without a name are left out. Names are given as options give them, with commas between
    them, and in quotes where a name has a comma: `exclude=id,"height, cm"`.

    Args:
        path: of the training table, for every split: what is wrong there is wrong everywhere.
        label: the column that is to be predicted.
        features: all of them, on purpose, whatever they tell; every column but the label if empty.
        exclude: columns that are none.

    Raises:
        ConfigError: a column counts the rows or repeats the label and wasn't named on purpose, one
            that is named isn't there, or none is left.
    """
    path = os.path.expanduser(path)
    there = column_names(path)
    named, excluded = _listed(features), _listed(exclude)
    require_columns(path, [label, *named, *excluded], there)
    if named and excluded:
        raise ConfigError(
            f"features={features} and exclude={exclude} are both given; expected one of them: the "
            "features of a table, or what is left out."
        )
    if named:
        return named
    left = [name for name in there if name.strip() and name != label and name not in excluded]
    if not left:
        raise ConfigError(
            f"{path} has no column for features beside {label}: {shown(there)}; expected at least "
            "one with a name that isn't excluded."
        )
    _require_none_tells(path, label, left, excluded)
    return left


def _require_none_tells(
    path: str, label: str, names: Sequence[str], excluded: Sequence[str]
) -> None:
    # What doesn't look like it in the first rows isn't read any further.
    first = read(path, {label: "string", **dict.fromkeys(names, "any")}, is_first=True)
    numbers = _numbers(first, names)
    classes = _classes(first, label)
    suspects = [
        name
        for name, values in numbers.items()
        if _are_distinct(values) or _by_class(values, classes) is not None
    ]
    reasons = {
        name: f"{name} is what pandas calls a column without a name"
        for name in names
        if _WITHOUT_NAME.fullmatch(name)
    }
    if suspects:
        whole = read(path, {label: "string", **dict.fromkeys(suspects, "any")})
        reasons |= _telling(_numbers(whole, suspects), _classes(whole, label), label)
    if not reasons:
        return
    telling = [name for name in names if name in reasons]
    keep = _typed(names) if len(names) <= _MOST_TYPED else "NAME,NAME,..."
    it = "it" if len(telling) == 1 else "them"
    raise ConfigError(
        f"{path}: {'; '.join(dict.fromkeys(reasons[name] for name in telling))}; expected "
        "features that say something of a new row, because a model would learn this and nothing "
        f"else. Leave {it} out: {_option('exclude', _typed([*excluded, *telling]))}. Or keep {it} "
        f"by naming all features: {_option('features', keep)}."
    )


def _telling(
    numbers: dict[str, npt.NDArray[np.generic]], classes: npt.NDArray[np.int64], label: str
) -> dict[str, str]:
    """Why a column tells too much, by its name."""
    rows, count = len(classes), int(classes.max()) + 1
    if rows < _FEWEST_ROWS:
        return {}
    reasons, marked = {}, {}
    for name, values in numbers.items():
        by_class = _by_class(values, classes)
        if _counts(values):
            first = ", ".join(str(int(value)) for value in values[:3].tolist())
            reasons[name] = f"{name} counts the rows ({first}, ...)"
        # Where no class has a second row, any column would have one value for each.
        elif by_class is None or count < 2 or 2 * count > rows:
            continue
        elif len(np.unique(by_class)) == count:
            reasons[name] = f"{name} repeats {label}: each class has a value of its own"
        elif (alone := _marked_class(by_class)) is not None:
            marked[name] = alone
    # Of one class alone such a column may be a fact about it: that its animals have feathers.
    if len(set(marked.values())) >= count - 1:
        reason = f"{shown(list(marked))} repeat {label}: a column for each class"
        reasons |= dict.fromkeys(marked, reason)
    return reasons


def _numbers(table: Foreign, names: Sequence[str]) -> dict[str, npt.NDArray[np.generic]]:
    """The columns that hold numbers; the others are refused when they are read as features."""
    columns = {name: table.column(name) for name in names}
    return {
        name: column.to_numpy(zero_copy_only=False)
        for name, column in columns.items()
        if str(column.type) in ("int64", "double")
    }


def _classes(table: Foreign, label: str) -> npt.NDArray[np.int64]:
    """A number for each text in the column of the label, by its first row."""
    texts = table.column(label).to_pylist()
    number_of = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    return np.array([number_of[text] for text in texts], np.int64)


def _are_distinct(values: npt.NDArray[np.generic]) -> bool:
    """Whether they are whole numbers, each there once: what every part of a counter is."""
    is_whole = values.dtype == np.int64 or bool((values == np.floor(values)).all())
    return is_whole and len(np.unique(values)) == len(values)


def _counts(values: npt.NDArray[np.generic]) -> bool:
    """Whether they are whole numbers with one step between them, in whatever order."""
    return _are_distinct(values) and len(np.unique(np.diff(np.sort(values)))) == 1


def _by_class(
    values: npt.NDArray[np.generic], classes: npt.NDArray[np.int64]
) -> npt.NDArray[np.generic] | None:
    """The one value that each class has, or None if one has several."""
    _, first = np.unique(classes, return_index=True)
    by_class = values[first]
    return by_class if bool((values == by_class[classes]).all()) else None


def _marked_class(by_class: npt.NDArray[np.generic]) -> int | None:
    """The class that has one of two values for itself, or None."""
    found, counts = np.unique(by_class, return_counts=True)
    if len(found) != 2 or counts.min() != 1:
        return None
    return int(np.flatnonzero(by_class == found[counts.argmin()])[0])


def _listed(names: str) -> list[str]:
    return next(csv.reader([names], skipinitialspace=True), []) if names.strip() else []


def _typed(names: Sequence[str]) -> str:
    """Names as `_listed` reads them."""
    return ",".join(
        '"' + name.replace('"', '""') + '"' if re.search(r'[",\n]|^\s', name) else name
        for name in names
    )


def _option(name: str, value: str) -> str:
    return shlex.quote(f"--dataset_option={name}={value}")
