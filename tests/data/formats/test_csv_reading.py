import pytest

from tfscale.data.formats import csv_reading
from tfscale.errors import ConfigError

TYPES = {"a": "float32", "label": "int64"}
TABLE = "a,b,label\n1.5,2,0\n2.5,3,1\n"
NUMBER = r"record 2 \(line 3\): a is {}; expected a number. "
MISSING = "Where a value is missing, fill it, or remove the row"
WHOLE = r"record 2 \(line 3\): label is {}; expected a whole number"


def _read(path, text, types=TYPES):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    csv_reading.require_columns(str(path), list(types), csv_reading.column_names(str(path)))
    return csv_reading.read(str(path), types).to_pydict()


@pytest.mark.parametrize(
    "text",
    [
        TABLE,
        TABLE.replace("\n", "\r\n"),
        TABLE.replace("\n", "\r"),
        "\ufeff" + TABLE,
        "\n" + TABLE.replace("1\n", "1\n\n"),
        TABLE.replace("2.5", '" 2.5"'),
        TABLE.replace(",3", ',5"').replace("b,", "inches,"),
        TABLE.replace("a,", ",a,").replace("1.5,", "0,1.5,").replace("2.5,", "1,2.5,"),
        "a,,,label\n1.5,2,,0\n2.5,3,,1\n",
    ],
)
def test_what_is_a_table_is_read(tmp_path, text):
    assert _read(tmp_path / "t.csv", text) == {"a": [1.5, 2.5], "label": [0, 1]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no first line: it is empty"),
        ("a,label", "has no rows below the names of its columns"),
        ("a,label\n\n", "has no rows below the names of its columns"),
        (TABLE.replace(",", ";"), "has ';' between its columns; expected commas"),
        (TABLE.replace(",", "\t"), r"has '\\t' between its columns; expected commas"),
        (TABLE.replace("b", "a"), "has two columns 'a'"),
        (TABLE.replace("label", " Label"), "has no column 'label' but ' Label'"),
        (TABLE.replace("2.5", "tall"), NUMBER.format("'tall'") + "Mend the value, or leave the"),
        (TABLE.replace("2.5", ""), NUMBER.format("''") + MISSING),
        (TABLE.replace("2.5", "NA"), NUMBER.format("'NA'") + MISSING),
        (TABLE.replace("2.5", '"2,5"'), NUMBER.format("'2,5'") + "Write it with a decimal point"),
        (TABLE.replace("2.5", '"1,234.5"'), NUMBER.format("'1,234.5'") + ".*thousands"),
        (TABLE.replace("2.5", "1 234"), NUMBER.format("'1 234'") + ".*thousands"),
        (TABLE.replace("2.5", "2024-01-31"), NUMBER.format("'2024-01-31'") + "Write a date as"),
        (TABLE.replace("2.5", "31.01.2024 12:00"), NUMBER.format("'.*'") + "Write a date as"),
        (TABLE.replace("2.5", "True"), NUMBER.format("'True'") + "Write 1 and 0"),
        (TABLE.replace("2.5", "1_0"), NUMBER.format("'1_0'")),
        (TABLE.replace("2.5", "x" * 99), NUMBER.format(f"'{'x' * 60}...'")),
        (TABLE.replace(",1\n", ",\n"), WHOLE.format("''") + f". {MISSING}"),
        (TABLE.replace(",1\n", ",1.0\n"), WHOLE.format("'1.0'") + ". Write it without a point"),
        (TABLE.replace(",1\n", ",yes\n"), WHOLE.format("'yes'") + ". Write 1 and 0"),
        (
            TABLE.replace("2.5", "2,5"),
            r"record 2 \(line 3\) has 4 fields; expected 3.*decimal point",
        ),
        (
            TABLE.replace("3,1", "1"),
            r"record 2 \(line 3\) has 2 fields; expected 3, .*\(a, b, label",
        ),
        (
            TABLE.replace("3,1", '"3,1'),
            "line 3: the row that begins here has no end.*Close the quo",
        ),
        (
            TABLE.replace("1.5,2", '1.5,"2\n2"').replace("2.5", "x"),
            r"record 2 \(line 4\): a is 'x'",
        ),
        (TABLE.encode("utf-16"), "is no text in UTF-8.* iconv -f utf-16"),
        (TABLE.replace("b", "é").encode("latin1"), "is no text in UTF-8.* -f latin1"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_to_do(tmp_path, text, reason):
    with pytest.raises(ConfigError, match=f"t.csv[, ]*{reason}") as refused:
        _read(tmp_path / "t.csv", text)
    assert "CSV" not in str(refused.value).replace("t.csv", "")  # pyarrow's own words


def test_text_of_another_encoding_is_named_with_its_row(tmp_path):
    with pytest.raises(ConfigError, match=r"record 1 \(line 2\): b is 'caf\\\\xe9'; .* UTF-8"):
        _read(tmp_path / "t.csv", "a,b\n1,café\n".encode("latin1"), {"b": "string"})


def test_a_quote_that_swallows_the_last_rows_is_refused(tmp_path):
    """pyarrow reads one row of this, whose last text has all others in it."""
    text = 'label,a,remark\n0,1,"good\n1,2,bad\n0,3,bad\n'
    with pytest.raises(ConfigError, match="line 2: the row that begins here has no end"):
        _read(tmp_path / "t.csv", text)


def test_the_first_rows_are_enough_where_they_are_asked_for(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("n,label\n" + "".join(f"{number},a\n" for number in range(200_000)))
    first = csv_reading.read(str(path), {"n": "any"}, is_first=True)
    assert 0 < first.num_rows < 200_000
    assert first.column("n").to_pylist() == list(range(first.num_rows))
