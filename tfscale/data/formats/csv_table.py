"""Tables with a line of names at their top: CSV files, held in memory."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tfscale.data.collection import Collection
from tfscale.data.formats import csv_reading, held
from tfscale.data.formats.csv_reading import column_names as column_names
from tfscale.errors import ConfigError
from tfscale.structures import Foreign

DTYPES = ("float32", "int64", "string")

_SHOWN_CLASSES = 4


def class_names(path: str, label: str) -> list[str]:
    """The classes of a column of texts, in the order of their numbers: sorted by code points.

    Args:
        path: of the training table, whose classes those of every split are.
        label: name of the column.

    Returns:
        None of them for a column of numbers, which are numbers of classes as they stand.

    Raises:
        ConfigError: the column isn't there, or has both numbers and texts.
    """
    path = os.path.expanduser(path)
    csv_reading.require_columns(path, [label], column_names(path))
    column = csv_reading.read(path, {label: "string"})[label]
    found = column.unique().to_pylist()
    texts = [text for text in found if _is_name(text)]
    others = [text for text in found if not _is_name(text)]
    if texts and others:
        at = [column.index(text).as_py() + 1 for text in (texts[0], others[0])]
        raise ConfigError(
            f"{path}: {label} is {texts[0]!r} in record {at[0]} and {others[0]!r} in record "
            f"{at[1]}; expected the names of classes in all rows, or their numbers in all. Mend "
            "the rows, or name another column as the label."
        )
    return sorted(texts)


def records(
    path: str,
    features: Sequence[str],
    others: Mapping[str, str],
    num_classes: Mapping[str, int] | None = None,
    class_names: Mapping[str, Sequence[str]] | None = None,
) -> Collection:
    """The rows of a table.

    Args:
        path: of the file.
        features: names of columns of numbers, which become one vector, in this order: that of the
            training table for every split.
        others: dtype of each column that stays by itself, by its name; "int64", "float32" or
            "string".
        num_classes: of columns that hold numbers of classes, how many classes there are.
        class_names: of columns of texts that become numbers of classes, int64, the texts in the
            order of their numbers; none for a column that holds numbers.

    Returns:
        Records `{"features": float32 (features,), NAME: scalar of its dtype, ...}`. The plan says
        which columns of the file aren't in them, and which number stands for which text.

    Raises:
        ConfigError: a column isn't there, or a value is missing, is none of its dtype, isn't
            finite, is no number of a class, or a text that is no class.
    """
    path = os.path.expanduser(path)
    there = column_names(path)
    _require(path, features, others, there)
    named = {name: list(texts) for name, texts in (class_names or {}).items() if texts}
    types = {**others, **dict.fromkeys(named, "string"), **dict.fromkeys(features, "float32")}
    table = csv_reading.read(path, types)
    columns = {
        name: _numbered(table, name, named[name], path)
        if name in named
        else _column(table, name, types[name], path)
        for name in types
    }
    for name, count in (num_classes or {}).items():
        _require_classes(columns[name], count, name, path)
    leaves: dict[str, Any] = {name: columns[name] for name in others}
    if features:
        leaves["features"] = np.stack([columns[name] for name in features], axis=1)
    found = held.collection(path, leaves, lambda number: f"{path}, record {number + 1}")
    return replace(found, note=_note([name for name in there if name not in types], named))


def _require(
    path: str, features: Sequence[str], others: Mapping[str, str], there: Sequence[str]
) -> None:
    strange = sorted(set(others.values()) - set(DTYPES))
    if strange:
        raise ConfigError(f"{path}: dtype {strange[0]!r}; expected one of {', '.join(DTYPES)}.")
    csv_reading.require_columns(path, [*features, *others], there)
    if set(features) & set(others) or (features and "features" in others):
        raise ConfigError(
            f"{path}: a column is a feature and also by itself, or is called 'features'; expected "
            "each in one place. Rename it, or leave it out of the features."
        )


def _is_name(text: str) -> bool:
    return bool(text.strip()) and not csv_reading.is_number(text)


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


def _numbered(
    table: Foreign, name: str, classes: Sequence[str], path: str
) -> npt.NDArray[np.int64]:
    encoded = table[name].combine_chunks().dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    number_of = {text: number for number, text in enumerate(classes)}
    numbers = np.array([number_of.get(text, -1) for text in texts], np.int64)
    found: npt.NDArray[np.int64] = numbers[encoded.indices.to_numpy(zero_copy_only=False)]
    wrong = np.flatnonzero(found < 0)
    if len(wrong):
        unknown = [text for text in texts if text not in number_of]
        raise ConfigError(
            f"{path}, record {wrong[0] + 1}: {name} is {unknown[0]!r}, which is no class of "
            f"training ({len(unknown)} such texts in {len(wrong)} rows); expected "
            f"{csv_reading.shown(classes)}. Add rows of it to the training table, or remove them "
            "here."
        )
    return found


def _require_classes(values: npt.NDArray[Any], count: int, name: str, path: str) -> None:
    if values.dtype == object:
        raise ConfigError(f"{path}: {name} holds texts; expected int64 for numbers of classes.")
    wrong = np.flatnonzero((values < 0) | (values >= count))
    if len(wrong):
        raise ConfigError(
            f"{path}, record {wrong[0] + 1}: {name} is {values[wrong[0]]}; expected a class from 0 "
            f"to {count - 1}. Set num_classes, or mend the row."
        )


def _note(unused: Sequence[str], named: Mapping[str, Sequence[str]]) -> str:
    """What the plan says: columns that aren't used, and the classes behind the numbers."""
    notes = []
    without_name = sum(not name.strip() for name in unused)
    shown = [name for name in unused if name.strip()]
    if without_name:
        shown.append(f"{without_name} without a name")
    if shown:
        notes.append(f"columns left out: {csv_reading.shown(shown)}")
    for name, classes in named.items():
        first = [f"{number} {text}" for number, text in enumerate(classes[:_SHOWN_CLASSES])]
        more = ", ..." if len(classes) > _SHOWN_CLASSES else ""
        notes.append(f"{name}: {', '.join(first)}{more}")
    return "; ".join(notes)
