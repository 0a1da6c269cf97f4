import pytest

from tfscale.process.printable import one_printable_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a plan\n\twith lines, Größe 漢字 😀", None),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b31m", r"\x9b31m"),
        ("done\rfailed", r"done\rfailed"),
        ("a\0b\x7f", r"a\x00b\x7f"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("a\u2028b", r"a\u2028b"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text, shown):
    assert printable(text) == (text if shown is None else shown)


def test_a_line_stays_one():
    assert one_printable_line("a\nb\tc\x1b") == r"a\nb\tc\x1b"
