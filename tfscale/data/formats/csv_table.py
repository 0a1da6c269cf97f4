"""Tables with a line of names at their top: CSV files, held in memory."""

import csv
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tfscale.data.collection import Collection
from tfscale.data.formats import held
from tfscale.errors import ConfigError
from tfscale.structures import Foreign

DTYPES = ("float32", "int64", "string")


def column_names(path: str) -> list[str]:
    """What the first line says, in its order.

    Raises:
        ConfigError: the file can't be read, or two columns have one name.
    """
    path = os.path.expanduser(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            names = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{path} can't be read ({reason}); expected a table in UTF-8, with commas and the "
            "names of the columns in its first line."
        ) from error
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise ConfigError(
            f"{path} has {f'two columns {twice[0]!r}' if twice else 'no first line'}; expected the "
            "name of each column in the first line, each once."
        )
    return names


def records(
    path: str,
    features: Sequence[str],
    others: Mapping[str, str],
    num_classes: Mapping[str, int] | None = None,
) -> Collection:
    """The rows of a table.

    Args:
        path: of the file.
        features: names of columns of numbers, which become one vector, in this order: that of the
            training table for every split.
        others: dtype of each column that stays by itself, by its name; "int64", "float32" or
            "string".
        num_classes: of columns that hold numbers of classes, how many classes there are.

    Returns:
        Records `{"features": float32 (features,), NAME: scalar of its dtype, ...}`.

    Raises:
        ConfigError: a column isn't there, or a value is missing, is none of its dtype, isn't
            finite, or is no number of a class.
    """
    path = os.path.expanduser(path)
    types = {**others, **dict.fromkeys(features, "float32")}
    _require(path, features, others, column_names(path))
    table = _read(path, types)
    columns = {name: _column(table, name, types[name], path) for name in types}
    for name, count in (num_classes or {}).items():
        _require_classes(columns[name], count, name, path)
    leaves: dict[str, Any] = {name: columns[name] for name in others}
    if features:
        leaves["features"] = np.stack([columns[name] for name in features], axis=1)
    return held.collection(path, leaves, lambda number: f"{path}, record {number + 1}")


def _require(
    path: str, features: Sequence[str], others: Mapping[str, str], there: Sequence[str]
) -> None:
    strange = sorted(set(others.values()) - set(DTYPES))
    if strange:
        raise ConfigError(f"{path}: dtype {strange[0]!r}; expected one of {', '.join(DTYPES)}.")
    missing = [name for name in (*features, *others) if name not in there]
    if missing:
        raise ConfigError(
            f"{path} has no column {missing[0]!r}; expected it among {', '.join(there)}."
        )
    if set(features) & set(others) or (features and "features" in others):
        raise ConfigError(
            f"{path}: a column is a feature and also by itself, or is called 'features'; expected "
            "each in one place. Rename it, or leave it out of the features."
        )


def _read(path: str, types: Mapping[str, str]) -> Foreign:
    try:
        # It ships no types, and only tables need it.
        import pyarrow
        from pyarrow import csv as arrow
    except ImportError as error:
        raise ConfigError(
            f"Tables need pyarrow ({error}); expected it to be installed: pip install pyarrow."
        ) from error
    try:
        return arrow.read_csv(
            path,
            arrow.ReadOptions(use_threads=False),  # with threads it doesn't say which row is wrong
            arrow.ParseOptions(newlines_in_values=True),
            arrow.ConvertOptions(
                column_types={name: getattr(pyarrow, dtype)() for name, dtype in types.items()},
                include_columns=list(types),
                null_values=[],  # a value that is missing is an error, not a NaN
                strings_can_be_null=False,
            ),
        )
    except (pyarrow.ArrowException, OSError) as error:
        raise ConfigError(
            f"{path}: {error}; expected {_listed(types)} in every row. Mend the row, or take the "
            "column out."
        ) from error


def _column(table: Foreign, name: str, dtype: str, path: str) -> npt.NDArray[Any]:
    if dtype == "string":
        return held.texts(text.encode() for text in table[name].to_pylist())
    values: npt.NDArray[Any] = table[name].to_numpy()
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise ConfigError(
            f"{path}, record {wrong[0] + 1}: {name} is {values[wrong[0]]}; expected a finite "
            "number, because training would end in NaN. Fill it, or remove the row."
        )
    return values


def _require_classes(values: npt.NDArray[Any], count: int, name: str, path: str) -> None:
    if values.dtype == object:
        raise ConfigError(f"{path}: {name} holds texts; expected int64 for numbers of classes.")
    wrong = np.flatnonzero((values < 0) | (values >= count))
    if len(wrong):
        raise ConfigError(
            f"{path}, record {wrong[0] + 1}: {name} is {values[wrong[0]]}; expected a class from 0 "
            f"to {count - 1}. Set num_classes, or mend the row."
        )


def _listed(types: Mapping[str, str]) -> str:
    shown = [f"{name} as {dtype}" for name, dtype in list(types.items())[:4]]
    return ", ".join(shown) + (", ..." if len(types) > 4 else "")
