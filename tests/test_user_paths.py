from pathlib import Path

import pytest

from tfscale.user_paths import UserFile, located, name_of


@pytest.mark.parametrize("given", ["datasets/mine.py", Path("datasets/mine.py")])
def test_a_file_is_called_what_it_was_given_as_and_stays_where_it_was(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = located(given)
    monkeypatch.chdir("/")
    assert file == UserFile("datasets/mine.py", tmp_path)
    assert file.path == tmp_path / "datasets" / "mine.py"
    assert name_of(file) == name_of(given) == "datasets/mine.py"
    assert located(file) is file


@pytest.mark.parametrize("name", ["/data/mine.py", "~/mine.py"])
def test_a_path_from_the_root_or_from_home_needs_no_folder(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    expected = {"/data/mine.py": "/data/mine.py", "~/mine.py": "/home/somebody/mine.py"}
    assert UserFile(name, tmp_path).path == Path(expected[name])


def test_what_is_no_path_stays_what_it_is():
    module = object()
    assert located(module) is module
    assert name_of(module) == "object"


def test_a_folder_that_is_gone_is_found_out_when_the_file_is_opened(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert not located("mine.py").path.exists()
