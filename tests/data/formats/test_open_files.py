import os

import pytest

from tfscale.data.formats.open_files import Descriptor, OpenFiles


def test_what_was_not_asked_for_the_longest_time_goes_first():
    asked = []
    files = OpenFiles(lambda path: asked.append(path) or path, limit=2)
    for path in ("a", "b", "a", "c", "a", "b"):
        assert files.get(path) == path
    assert asked == ["a", "b", "c", "b"]
    assert len(files) == 2


def test_a_file_is_closed_when_nobody_has_it_any_more(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    files = OpenFiles(Descriptor, limit=1)
    held = files.get(str(tmp_path / "a"))
    number = held.number
    files.get(str(tmp_path / "b"))
    assert os.pread(number, 9, 0) == b"a"
    del held
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_a_file_that_is_not_there_is_an_error_and_nothing_is_kept(tmp_path):
    files = OpenFiles(Descriptor)
    with pytest.raises(FileNotFoundError):
        files.get(str(tmp_path / "none"))
    assert len(files) == 0
