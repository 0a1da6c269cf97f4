"""The page of promises is what the marks on the tests say, and each mark is read as it is meant."""

import pytest

from tests import promises


def test_the_page_is_what_the_marks_say():
    assert promises.PAGE.read_text() == promises.current(), "run `make promises`"


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        ('@pytest.mark.promise("a")\ndef test_one(): ...', {"a"}),
        (
            '@pytest.mark.parametrize("n", [1])\n@pytest.mark.promise("a")\ndef test_n(n): ...',
            {"a"},
        ),
        ('@pytest.mark.promise("a")\n@pytest.mark.promise("b")\ndef test_both(): ...', {"a", "b"}),
        ('class Test:\n    @pytest.mark.promise("a")\n    def test_one(self): ...', {"a"}),
        ('pytestmark = pytest.mark.promise("a")', {"a"}),
        ('pytestmark = [pytest.mark.promise("a"), pytest.mark.promise("b")]', {"a", "b"}),
        ('@pytest.mark.promise("a")\ndef helper(): ...', set()),
        ('mark = pytest.mark.promise("a")', set()),
        ('@pytest.mark.plays("a")\ndef test_one(): ...', set()),
        ('# @pytest.mark.promise("a")\ndef test_one(): ...', set()),
    ],
)
def test_a_mark_counts_on_a_test_and_on_a_whole_file(source, keys):
    assert promises.promised(source) == keys


def test_a_promise_has_all_files_that_show_it(tmp_path):
    for name in ("tests/b/test_b.py", "tests/test_a.py", "tests/made.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('pytestmark = pytest.mark.promise("safe")')
    files = promises.shown_by(tmp_path)
    assert files == {"safe": ["tests/b/test_b.py", "tests/test_a.py"]}
    page = promises.page({"All": {"safe": "it is safe"}}, files)
    assert page.endswith("| it is safe | `tests/b/test_b.py`, `tests/test_a.py` |\n")


@pytest.mark.parametrize(
    ("keys", "words"),
    [(["a"], r"No test shows \['b'\]"), (["a", "b", "c"], r"doesn't have \['c'\]")],
)
def test_a_promise_without_a_test_and_a_mark_without_a_promise_are_refused(keys, words):
    sentences = {"All": {"a": "first", "b": "second"}}
    with pytest.raises(ValueError, match=words):
        promises.page(sentences, dict.fromkeys(keys, ["tests/test_a.py"]))
