import pytest
import tensorflow as tf

from tfscale.data.formats import text_lines
from tfscale.errors import ConfigError


def _records(folder, *contents):
    for number, content in enumerate(contents):
        (folder / f"{number}.txt").write_bytes(content)
    return text_lines.records(f"{folder}/*.txt")


def _all(records):
    return records.read(tf.range(records.num_records, dtype=tf.int64)).numpy().tolist()


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"a\nbc\n", [b"a", b"bc"]),
        (b"a\nbc", [b"a", b"bc"]),
        (b"a\r\nbc\r\n", [b"a", b"bc"]),
        (b"\n\na\n\n", [b"", b"", b"a", b""]),
        (b"\r\na", [b"", b"a"]),
        (b"a\rb\r\n\r\r\nc\r", [b"a\rb", b"\r", b"c\r"]),
        (b"\xef\xbb\xbfa\nb", [b"a", b"b"]),
        ("Grüße\n漢字\n".encode(), ["Grüße".encode(), "漢字".encode()]),
        (b"\n", [b""]),
    ],
)
@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 2**24])
def test_lines_come_without_their_ends(tmp_path, monkeypatch, content, lines, chunk_bytes):
    monkeypatch.setattr(text_lines, "_CHUNK_BYTES", chunk_bytes)
    assert _all(_records(tmp_path, content)) == lines


def test_lines_come_file_after_file(tmp_path):
    records = _records(tmp_path, b"a\nb\n", b"", b"c")
    assert _all(records) == [b"a", b"b", b"c"]
    assert [file.num_records for file in records.files] == [2, 0, 1]
    assert records.place_of(1) == f"{tmp_path}/0.txt, byte 2"


def test_no_line_at_all_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="hold no record"):
        _records(tmp_path, b"")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x1f\x8b\x08\x00", r"is compressed \(gzip\); expected text"),
        (b"\x28\xb5\x2f\xfd\x00", r"is compressed \(zstd\); expected text"),
        (b"BZh91AY&SY", r"is compressed \(bzip2\); expected text"),
        ("a\n".encode("utf-16"), "is UTF-16; expected UTF-8"),
    ],
)
def test_a_file_that_is_no_such_text_is_refused(tmp_path, content, words):
    with pytest.raises(ConfigError, match=words):
        _records(tmp_path, content)


def test_letters_that_another_compression_begins_with_are_text(tmp_path):
    assert _all(_records(tmp_path, b"x^2\ny")) == [b"x^2", b"y"]


@pytest.mark.promise("damage")
def test_a_file_that_shrinks_while_it_is_read_is_an_error_with_its_place(tmp_path):
    records = _records(tmp_path, b"one\ntwo\nthree\n")
    (tmp_path / "0.txt").write_bytes(b"one\ntwo\n")
    with pytest.raises(ConfigError, match=r"0\.txt, byte 8: the file ends"):
        records.read(tf.constant([0, 2], tf.int64))
