import sys
from types import ModuleType, SimpleNamespace

import pytest

from tfscale.startup.source_hashes import (
    given_sources,
    imported_sources,
    library_source,
    own_modules,
)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of the user's own, imported as Python does."""
    (tmp_path / "augment_of_mine.py").write_text("strength = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    __import__("augment_of_mine")
    yield tmp_path / "augment_of_mine.py"
    del sys.modules["augment_of_mine"]


def test_a_file_is_compared_by_its_text_and_named_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.py").write_text("a = 1\n")
    first = given_sources("data.py")
    assert list(first) == ["the text of data.py"]
    (tmp_path / "data.py").write_text("a = 2\n")
    assert given_sources("data.py") != first
    assert given_sources("gone.py") == {}


def test_an_object_is_compared_by_the_text_of_its_functions():
    def load(split):
        return split

    def build(spec):
        return spec

    found = given_sources(SimpleNamespace(load=load, size=3), build)
    assert set(found) == {"the text of load()", "the text of build()"}
    assert found["the text of load()"] != found["the text of build()"]


def test_what_has_no_source_is_left_out():
    names = {}
    exec("def load(split): return split", names)  # noqa: S102 - as in a notebook
    assert given_sources(SimpleNamespace(load=names["load"])) == {}


def test_a_module_that_was_imported_is_compared_by_its_text(module):
    before = imported_sources()["the text of the module augment_of_mine"]
    module.write_text("strength = 2\n")
    assert imported_sources()["the text of the module augment_of_mine"] != before


def test_libraries_and_this_project_are_no_files_of_the_user(module):
    names = set(own_modules())
    assert "augment_of_mine" in names
    assert not {name for name in names if name.partition(".")[0] in ("tfscale", "keras", "json")}
    assert "__main__" not in names


def test_a_module_that_a_library_only_pretends_to_have_is_skipped(monkeypatch):
    lazy = ModuleType("lazy_of_mine")
    lazy.__file__ = "/nowhere/lazy_of_mine.py"
    monkeypatch.setitem(sys.modules, "lazy_of_mine", lazy)
    monkeypatch.setitem(sys.modules, "odd_of_mine", SimpleNamespace(__file__=3))
    assert not {"lazy_of_mine", "odd_of_mine"} & set(own_modules())


def test_the_library_has_one_hash():
    assert library_source() == library_source()
    assert len(library_source()) == 8
