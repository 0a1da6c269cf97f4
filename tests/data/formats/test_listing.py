import hashlib

import pytest

from tfscale.data.collection import StoredFile
from tfscale.data.formats.listing import checksum, list_files
from tfscale.errors import ConfigError
from tfscale.files import manifest
from tfscale.files.manifest import Manifest, Shard


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.rec", "a.rec", "c.rec"):
        (tmp_path / name).write_text(name)
    return tmp_path


def _with_manifest(folder, *names, records=2):
    files = {name: Shard(records, 5, hashlib.sha256(name.encode()).hexdigest()) for name in names}
    manifest.write(folder, Manifest(files))


@pytest.mark.parametrize(
    "files", ["*.rec", ["c.rec", "a.rec", "b.rec"], ["b.rec", "[ac].rec"], "**/*.rec"]
)
def test_files_are_sorted_whatever_lists_them(folder, files):
    listing = list_files(files)
    assert listing.paths == ("a.rec", "b.rec", "c.rec")
    assert listing.sizes == (5, 5, 5)
    assert listing.promised(0) is None


def test_a_home_is_the_users(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert list_files("~/a.rec").paths == (str(folder / "a.rec"),)


def test_a_name_with_letters_of_a_pattern_is_a_name(folder):
    (folder / "a[1].rec").touch()
    assert list_files("a[1].rec").paths == ("a[1].rec",)


def test_indexes_and_manifests_are_no_records(folder):
    _with_manifest(folder, "a.rec", "b.rec", "c.rec")
    (folder / "a.rec.idx").touch()
    (folder / ".tmp-1-d.rec").touch()
    assert list_files("*").paths == ("a.rec", "b.rec", "c.rec")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ("*.none", r"There is no file \*\.none \(in .*\); expected files of records"),
        ("none.rec", "There is no file none.rec"),
        ([], "No file of records was given"),
        (["*.rec", "a.rec"], "a.rec is listed twice; expected each file once"),
        (".", r"\. is a folder; expected files, for example \./\*\.tfrecord"),
    ],
)
def test_files_that_cannot_be_meant_are_refused(folder, files, words):
    with pytest.raises(ConfigError, match=words):
        list_files(files)


def test_a_manifest_says_how_many_records_there_have_to_be(folder):
    _with_manifest(folder, "a.rec", "b.rec", "c.rec")
    listing = list_files("*.rec")
    assert listing.promised(1) == 2
    assert [file.num_records for file in listing.stored([2, 2, 2])] == [2, 2, 2]
    with pytest.raises(ConfigError, match="b.rec has 1 records; expected 2"):
        listing.stored([2, 1, 2])


def test_a_file_of_another_size_than_its_manifest_says_is_refused(folder):
    _with_manifest(folder, "a.rec", "b.rec", "c.rec")
    (folder / "b.rec").write_text("b")
    with pytest.raises(ConfigError, match="b.rec has 1 bytes; expected 5, as manifest"):
        list_files("*.rec")


def test_a_file_that_a_manifest_names_and_the_pattern_would_find_has_to_be_there(folder):
    _with_manifest(folder, "a.rec", "b.rec", "c.rec", "d.rec")
    with pytest.raises(ConfigError, match="d.rec is missing, which manifest.json"):
        list_files("./*.rec")
    assert list_files(["a.rec", "b.rec"]).paths == ("a.rec", "b.rec")


def test_a_file_that_the_manifest_beside_it_does_not_name_is_refused(folder):
    _with_manifest(folder, "a.rec", "b.rec")
    with pytest.raises(ConfigError, match="c.rec isn't in manifest.json"):
        list_files("*.rec")


def test_files_that_hold_nothing_are_refused(folder):
    with pytest.raises(ConfigError, match=r"a.rec and what is listed .*hold no record"):
        list_files("*.rec").stored([0, 0, 0])


def test_a_checksum_tells_names_sizes_and_counts_and_not_where_they_lie():
    def of(path="/data/a.rec", records=1, num_bytes=2, kind="tfrecord"):
        return checksum(kind, [StoredFile(path, records, num_bytes)])

    assert of() == of("elsewhere/a.rec")
    others = {of("/data/b.rec"), of(records=2), of(num_bytes=1), of(kind="text_lines")}
    assert len(others | {of()}) == 5


@pytest.mark.parametrize("name", ["photos [2024]", "a*b", "what?", "100% ü, {x}", "-dash", "[!a]"])
def test_a_folder_may_have_any_name(tmp_path, name, monkeypatch):
    for folder in (name, "photos 2", "axb", "whaty", "b"):  # that a pattern would find
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "1.rec").write_text("x")
    own = str(tmp_path / name / "1.rec")
    assert list_files(str(tmp_path / name / "*.rec")).paths == (own,)
    assert list_files(own).paths == (own,)
    monkeypatch.chdir(tmp_path)
    assert list_files(f"{name}/*.rec").paths == (f"{name}/1.rec",)
    with pytest.raises(ConfigError) as caught:
        list_files(f"{name}/*.other")
    assert f"There is no file {name}/*.other" in str(caught.value)


def test_a_pattern_may_stand_for_folders(tmp_path):
    for folder in ("a1", "a2", "b1"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.rec").write_text("x")
    found = list_files(str(tmp_path / "a[12]" / "*.rec")).paths
    assert found == tuple(str(tmp_path / folder / "1.rec") for folder in ("a1", "a2"))
