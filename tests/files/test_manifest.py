import hashlib
import json

import pytest

from tfscale.errors import ConfigError
from tfscale.files import manifest
from tfscale.files.manifest import Manifest, Shard


@pytest.fixture
def folder(tmp_path):
    files = {}
    for name, content in (("a", b"one"), ("b", b"twotwo")):
        (tmp_path / name).write_bytes(content)
        files[name] = Shard(len(content) // 3, len(content), hashlib.sha256(content).hexdigest())
    manifest.write(tmp_path, Manifest(files, {"dtype": "string"}, "tfrecord", {"split": "train"}))
    return tmp_path


def _count(path):
    return path.stat().st_size // 3


def test_what_was_written_is_read_back(folder):
    found = manifest.read(folder)
    assert list(found.files) == ["a", "b"]
    assert found.files["b"] == Shard(2, 6, hashlib.sha256(b"twotwo").hexdigest())
    assert (found.spec, found.format) == ({"dtype": "string"}, "tfrecord")
    assert found.source == {"split": "train"}


def test_a_folder_that_is_whole_is_found_so(folder):
    assert manifest.verify(folder, hashes=True, count=_count) == manifest.read(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "b").unlink(), "b is missing, which manifest.json"),
        (lambda folder: (folder / "b").write_bytes(b"two"), "has 3 bytes; expected 6"),
        (lambda folder: (folder / "b").write_bytes(b"twotwO"), "has SHA-256 .*; expected"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(folder, change, words):
    change(folder)
    with pytest.raises(ConfigError, match=words):
        manifest.verify(folder, hashes=True)


def test_bytes_are_only_read_if_that_is_asked_for(folder):
    (folder / "b").write_bytes(b"twotwO")
    assert manifest.verify(folder, hashes=False)


def test_records_that_are_counted_are_compared(folder):
    with pytest.raises(ConfigError, match=r"a has 7 records; expected 1, as manifest\.json"):
        manifest.verify(folder, hashes=False, count=lambda path: 7)


def test_a_file_that_a_manifest_does_not_name_is_no_part_of_it(folder):
    with pytest.raises(ConfigError, match=r"c isn't in manifest\.json beside it"):
        manifest.read(folder).require(folder, "c")


def test_a_folder_without_a_manifest_has_none(tmp_path):
    assert manifest.read(tmp_path) is None
    with pytest.raises(ConfigError, match=r"has no manifest\.json; expected a folder that"):
        manifest.verify(tmp_path, hashes=False)


def test_a_manifest_of_another_program_is_none_of_ours(tmp_path):
    (tmp_path / "manifest.json").write_text('{"manifest_version": 3, "name": "browser"}')
    assert manifest.read(tmp_path) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(tfscale_manifest=2),
        lambda content: content.pop("spec"),
        lambda content: content["files"]["a"].pop("bytes"),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(folder, change):
    content = json.loads((folder / "manifest.json").read_text())
    change(content)
    (folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"manifest\.json can't be understood"):
        manifest.read(folder)


def test_a_manifest_that_was_cut_off_is_refused(folder):
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text[:40])
    with pytest.raises(ConfigError, match=r"manifest\.json can't be understood"):
        manifest.read(folder)


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "..", "", "b/../../a"])
def test_a_manifest_that_names_files_of_elsewhere_is_refused(folder, name):
    content = json.loads((folder / "manifest.json").read_text())
    content["files"][name] = content["files"].pop("a")
    (folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"manifest\.json can't be understood .*no file of this"):
        manifest.read(folder)
