import numpy as np
import pytest

from tests.data.formats.reading import read_all
from tfscale.data.formats import csv_table
from tfscale.errors import ConfigError

TABLE = 'age,name,"height, cm",label\n31,Ann,170.5,1\n8,"Bo ""B"",\nof X",99,0\n'
FEATURES = ["height, cm", "age"]
OTHERS = {"label": "int64", "name": "string"}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "train.csv")


def _read(path, text=TABLE, features=FEATURES, others=OTHERS, **kwargs):
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(text)
    return csv_table.records(path, features, others, **kwargs)


def test_rows_have_a_vector_of_features_and_columns_by_name(path):
    first, second = read_all(_read(path))
    assert first["features"].tolist() == [170.5, 31.0]
    assert first["features"].dtype == np.float32
    assert (int(first["label"]), first["name"]) == (1, b"Ann")
    assert second["name"] == b'Bo "B",\nof X'


def test_columns_are_found_by_name_wherever_they_stand(path):
    moved = 'label,extra,age,name,"height, cm"\n1,x,31,Ann,170.5\n'
    assert read_all(_read(path, moved))[0]["features"].tolist() == [170.5, 31.0]


def test_a_byte_order_mark_belongs_to_no_name(path):
    _read(path, "\ufeff" + TABLE)
    assert csv_table.column_names(path) == ["age", "name", "height, cm", "label"]


def test_a_record_says_where_it_came_from(path):
    assert _read(path).place_of(1) == f"{path}, record 2"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            TABLE.replace("170.5", "tall"),
            r"record 1 \(line 2\): height, cm is 'tall'; expected a number",
        ),
        (
            TABLE.replace("170.5", ""),
            r"record 1 \(line 2\): height, cm is ''; .*is missing, fill it",
        ),
        (TABLE.replace("170.5", "nan"), r"record 1: height, cm is nan; expected a finite number"),
        (TABLE.replace("99,0", "1e99,0"), r"record 2: height, cm is inf"),
        (TABLE.replace(",1\n", ",1.5\n"), r"record 1 \(line 2\): label is '1.5'; expected a whole"),
        (TABLE.replace(",1\n", "\n"), r"record 1 \(line 2\) has 3 fields; expected 4"),
        (TABLE.replace(",1\n", ",3\n"), r"record 1: label is 3; expected a class from 0 to 2"),
        (TABLE.replace(",1\n", ",-1\n"), r"record 1: label is -1; expected a class"),
        (TABLE.replace("age", "years"), r"no column 'age'; expected it among years, name"),
        (TABLE.replace("age", "name"), r"two columns 'name'"),
        (TABLE.partition("\n")[0], "has no rows below the names"),
        (TABLE.partition("\n")[0] + "\n", "has no rows below the names"),
        ("", "has no first line"),
    ],
)
def test_a_table_that_can_not_be_used_is_refused_with_its_row(path, text, reason):
    with pytest.raises(ConfigError, match=f"train.csv.*{reason}"):
        _read(path, text, num_classes={"label": 3})


def test_a_missing_file_is_refused(path):
    with pytest.raises(ConfigError, match=r"train.csv can't be read \(No such file"):
        csv_table.records(path, FEATURES, OTHERS)


def test_a_column_in_two_places_or_of_a_strange_dtype_is_refused(path):
    with pytest.raises(ConfigError, match="a column is a feature and also by itself"):
        _read(path, others={"age": "int64"})
    with pytest.raises(ConfigError, match="dtype 'int32'; expected one of float32, int64, string"):
        _read(path, others={"label": "int32"})


def test_the_same_table_elsewhere_has_the_same_checksum(path, tmp_path):
    other = str(tmp_path / "copy.csv")
    assert _read(path).checksum == _read(other).checksum
    assert _read(other, TABLE.replace("31", "32")).checksum != _read(path).checksum


SPECIES = "x,species\n1,wolf\n2,Ziege\n3,ähre\n4,wolf\n5,dog\n"


def _named(path, text, classes):
    others = {"species": "int64"}
    return _read(path, text, ["x"], others, class_names={"species": classes})


def test_classes_that_are_texts_are_numbered_by_code_points(path):
    _read(path, SPECIES, ["x"], {"species": "string"})
    classes = csv_table.class_names(path, "species")
    assert classes == ["Ziege", "dog", "wolf", "ähre"]
    found = _named(path, SPECIES, classes)
    assert [int(record["species"]) for record in read_all(found)] == [2, 0, 3, 2, 1]
    assert read_all(found)[0]["species"].dtype == np.int64
    assert found.note == "species: 0 Ziege, 1 dog, 2 wolf, 3 ähre"


def test_numbers_of_classes_have_no_names_and_stay_as_they_are(path):
    found = _named(path, "x,species\n1,10\n2, 9\n", [])
    assert csv_table.class_names(path, "species") == []
    assert [int(record["species"]) for record in read_all(found)] == [10, 9]


@pytest.mark.parametrize("other", ["", "3", "1.5", "nan"])
def test_texts_among_numbers_are_refused_with_both_records(path, other):
    with open(path, "w", encoding="utf-8") as file:
        file.write(SPECIES.replace("Ziege", other))
    reason = f"species is 'wolf' in record 1 and '{other}' in record 2; expected the names"
    with pytest.raises(ConfigError, match=reason):
        csv_table.class_names(path, "species")


def test_a_text_that_is_no_class_of_training_is_refused_by_name(path):
    reason = r"record 3: species is 'ähre', which is no class of training .*expected dog, wolf"
    with pytest.raises(ConfigError, match=reason):
        _named(path, SPECIES.replace("Ziege", "dog"), ["dog", "wolf"])


def test_what_is_left_out_is_said(path):
    assert _read(path).note == ""
    assert _read(path, features=["age"]).note == "columns left out: height, cm"
    assert _read(path, features=["age"], others={"label": "int64"}).note == (
        "columns left out: name, height, cm"
    )
    unnamed = ",age,,label\n0,31,x,1\n1,8,y,0\n"
    assert _read(path, unnamed, ["age"], {"label": "int64"}).note == (
        "columns left out: 2 without a name"
    )
