"""How the text of a table becomes columns, and what is said of a table that can't be read.

pyarrow reads; where it gives up, the same file is read once more, slowly, to say in which record
and line what stands.
"""

import contextlib
import csv
import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence

from tfscale.errors import ConfigError
from tfscale.structures import Foreign

_END = "\0the end\0"  # a line that no table has
_SHOWN_NAMES = 8
_SHOWN_LETTERS = 60
_MISSING = ("", "na", "n/a", "null", "none", "-", "?")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?")
_WITH_SEPARATORS = re.compile(r"[-+]?\d[\d.,' ]*,[\d.,' ]*|[-+]?\d{1,3}([ '.]\d{3})+")


def rows(path: str) -> Iterator[tuple[int, list[str]]]:
    """The line in which each row begins, counted from 1, and its fields; the names come first.

    Raises:
        ConfigError: the file can't be read, or a quote isn't closed.
    """
    line = 1
    try:
        # What is no UTF-8 is for `column_names` and `_mistake_in` to name.
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.reader(itertools.chain(file, [_END]))
            for fields in reader:
                if fields == [_END]:
                    return
                if fields and fields[-1].endswith(_END):
                    raise csv.Error("the file ends within quotes")
                if fields:
                    yield line, fields
                line = reader.line_num + 1
    except csv.Error as error:
        raise ConfigError(
            f"{path}, line {line}: the row that begins here has no end ({error}); expected quotes "
            'in pairs. Close the quote, or write "" where a text in quotes has one.'
        ) from error
    except OSError as error:
        raise ConfigError(
            f"{path} can't be read ({error.strerror}); expected a table in UTF-8, with commas and "
            "the names of the columns in its first line."
        ) from error


def column_names(path: str) -> list[str]:
    """What the first line says, in its order; a column without a name has an empty one.

    Raises:
        ConfigError: the file can't be read, something else than commas stands between the columns,
            or two columns have one name.
    """
    _, names = next(rows(os.path.expanduser(path)), (1, []))
    text = "".join(names)
    if "\0" in text or not _is_unicode(text):
        raise ConfigError(
            f"{path} is no text in UTF-8 (its first line has bytes of another encoding); expected "
            "a table in UTF-8. Save it as such: iconv -f utf-16 -t utf-8, or -f latin1."
        )
    between = [mark for mark in (";", "\t", "|") if len(names) == 1 and mark in text]
    if between:
        raise ConfigError(
            f"{path} has {between[0]!r} between its columns; expected commas. Save it with commas, "
            "and with points in decimal numbers."
        )
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice or not names:
        raise ConfigError(
            f"{path} has {f'two columns {twice[0]!r}' if twice else 'no first line: it is empty'}; "
            "expected the name of each column in the first line, each once."
        )
    return names


def require_columns(path: str, wanted: Sequence[str], there: Sequence[str]) -> None:
    """Refuses a table that lacks a column.

    Raises:
        ConfigError: it lacks one.
    """
    for name in wanted:
        if name not in there:
            alike = [one for one in there if one.strip().lower() == name.strip().lower()]
            but = f" but {alike[0]!r}" if alike else ""
            raise ConfigError(
                f"{path} has no column {name!r}{but}; expected it among {shown(there)}."
            )


def read(path: str, types: Mapping[str, str], *, is_first: bool = False) -> Foreign:
    """Columns of a table.

    Args:
        path: of the file.
        types: of each column that is read, what its values are, by its name: "float32", "int64",
            "string", or "any" for what they look like.
        is_first: whether the first rows are enough.

    Returns:
        pyarrow's table, or record batch.

    Raises:
        ConfigError: there is no row, or a value is none of its type.
    """
    try:
        # It ships no types, and only tables need it.
        import pyarrow
        from pyarrow import csv as arrow
    except ImportError as error:
        raise ConfigError(
            f"Tables need pyarrow ({error}); expected it to be installed: pip install pyarrow."
        ) from error
    dtypes = {name: getattr(pyarrow, kind)() for name, kind in types.items() if kind != "any"}
    convert = arrow.ConvertOptions(
        column_types=dtypes,
        include_columns=list(types),
        null_values=[],  # a value that is missing is an error, not a NaN
        strings_can_be_null=False,
    )
    one_thread = arrow.ReadOptions(use_threads=False)
    options = (one_thread, arrow.ParseOptions(newlines_in_values=True), convert)
    try:
        with contextlib.ExitStack() as opened:
            if is_first:
                found = opened.enter_context(arrow.open_csv(path, *options)).read_next_batch()
            else:
                found = arrow.read_csv(path, *options)
    except (pyarrow.ArrowException, OSError, StopIteration) as error:
        raise ConfigError(
            _mistake_in(path, types) or f"{path}: {error}; expected a table with commas."
        ) from error
    if not is_first and _may_lack_a_quote(path):
        for _ in rows(path):  # what pyarrow takes for the last text may be the rest of the table
            pass
    if not found.num_rows:
        raise ConfigError(_no_rows(path))
    return found


def is_number(text: str) -> bool:
    """Whether it is a number as pyarrow reads one, however large."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def shown(names: Sequence[str]) -> str:
    """The first of some names."""
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _may_lack_a_quote(path: str) -> bool:
    with open(path, "rb") as file:
        return sum(part.count(b'"') for part in iter(lambda: file.read(2**20), b"")) % 2 == 1


def _mistake_in(path: str, types: Mapping[str, str]) -> str | None:
    """What is wrong with the first record that can't be read, or None if nothing is found."""
    every = rows(path)
    _, names = next(every, (1, []))
    at = {name: names.index(name) for name in types}
    record = 0
    for record, (line, fields) in enumerate(every, start=1):
        place = f"{path}, record {record} (line {line})"
        if len(fields) != len(names):
            return f"{place} {_fields(len(fields), names)}"
        for name, place_in_row in at.items():
            problem = _value(fields[place_in_row], types[name])
            if problem is not None:
                return f"{place}: {name} is {_short(fields[place_in_row])}; expected {problem}"
    return None if record else _no_rows(path)


def _no_rows(path: str) -> str:
    return f"{path} has no rows below the names of its columns; expected at least one."


def _fields(count: int, names: Sequence[str]) -> str:
    if count > len(names):
        do = (
            "Put a value that has a comma into quotes, write a decimal point, or name every column "
            "in the first line."
        )
    else:
        do = "Write a comma for each value, also for an empty one."
    return (
        f"has {count} field{'s' * (count > 1)}; expected {len(names)}, one for each name in the "
        f"first line ({shown(names)}). {do}"
    )


def _value(text: str, dtype: str) -> str | None:
    """What is expected instead of a value, and what to do; None for one that is fine."""
    if not _is_unicode(text) and dtype != "any":
        return "text in UTF-8. Save the table as such, for example: iconv -f latin1 -t utf-8."
    if dtype not in ("float32", "int64"):
        return None
    if dtype == "float32" and is_number(text):
        return None
    if dtype == "int64" and re.fullmatch(r"\s*-?\d+\s*", text) and -(2**63) <= int(text) < 2**63:
        return None
    return f"a {'whole ' * (dtype == 'int64')}number. {_advice(text.strip(), dtype)}"


def _advice(text: str, dtype: str) -> str:
    if text.lower() in _MISSING:
        return "Where a value is missing, fill it, or remove the row."
    if text.lower() in ("true", "false", "yes", "no"):
        return "Write 1 and 0."
    if _DATE.fullmatch(text):
        return "Write a date as numbers, such as year and month, or leave it out: option exclude."
    if _WITH_SEPARATORS.fullmatch(text):
        return "Write it with a decimal point and without separators of thousands: 1234.5."
    if dtype == "int64" and is_number(text):
        return "Write it without a point, a sign + or an exponent: 1."
    if dtype == "int64":
        return "Mend the value, or remove the row."
    return "Mend the value, or leave the column out of the features: option exclude."


def _short(text: str) -> str:
    text = text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return repr(text if len(text) <= _SHOWN_LETTERS else text[:_SHOWN_LETTERS] + "...")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
