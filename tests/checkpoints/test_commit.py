import json
import os
import shutil

import numpy as np
import pytest

from tests.checkpoints.dying import dies_at
from tfscale.checkpoints import commit

pytestmark = pytest.mark.promise("checkpoints")

ARRAYS = {
    "weights.safetensors": {"model/0000/kernel": np.arange(600, dtype=np.float32)},
    "state.safetensors": {"optimizer-0/0000/iteration": np.asarray(7), "x": np.ones((2, 3))},
}


def _write(folder, step, value=0.0):
    return commit.write(folder, step, ARRAYS, {"epoch": step // 10, "value": value})


def test_what_is_written_is_read_with_shapes_and_dtypes(tmp_path):
    path = _write(tmp_path, 12)
    found, refused = commit.newest(tmp_path)
    assert (found.path, found.step, refused) == (path, 12, [])
    assert found.facts["epoch"] == 1
    arrays = found.arrays()
    for expected in ARRAYS.values():
        for name, array in expected.items():
            assert arrays[name].dtype == array.dtype
            np.testing.assert_array_equal(arrays[name], array)
            assert arrays[name].shape == array.shape
    assert sorted(os.listdir(tmp_path)) == ["step-0000000012"]


def test_the_newest_step_counts_and_a_step_is_written_once(tmp_path):
    for step in (9, 100, 12):
        _write(tmp_path, step)
    before = (tmp_path / "step-0000000100" / "manifest.json").stat().st_mtime_ns
    assert _write(tmp_path, 100, value=1.0) == tmp_path / "step-0000000100"
    assert (tmp_path / "step-0000000100" / "manifest.json").stat().st_mtime_ns == before
    assert commit.newest(tmp_path)[0].step == 100


def test_a_folder_that_is_not_there_has_no_checkpoint(tmp_path):
    assert commit.newest(tmp_path / "nothing") == (None, [])


def _cut(path):
    os.truncate(path, path.stat().st_size - 1)


def _flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _lengthen(path):
    with path.open("ab") as file:
        file.write(b"\0")


def _link(path):
    elsewhere = path.with_name("elsewhere")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


@pytest.mark.parametrize("file", ["weights.safetensors", "state.safetensors", "manifest.json"])
@pytest.mark.parametrize("spoil", [_cut, _flip, _lengthen, os.remove, _link])
def test_what_has_changed_since_is_refused_and_the_one_before_is_used(tmp_path, file, spoil):
    _write(tmp_path, 1)
    spoil(_write(tmp_path, 2) / file)
    found, (line,) = commit.newest(tmp_path)
    assert found.step == 1
    assert "step-0000000002 is refused: " in line
    assert sorted(os.listdir(tmp_path)) == ["refused-step-0000000002", "step-0000000001"]
    assert commit.newest(tmp_path)[1] == []


def test_every_byte_of_a_manifest_counts(tmp_path):
    path = _write(tmp_path, 2) / "manifest.json"
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        spoiled = bytearray(whole)
        spoiled[place] ^= 1
        path.write_bytes(spoiled)
        if _meaning(spoiled) == _meaning(whole):
            continue
        with pytest.raises((commit.RefusedError, UnicodeDecodeError)):
            commit.verify(path.parent)


def _meaning(text):
    try:
        return json.loads(text)
    except ValueError:
        return None


def test_a_manifest_of_somebody_elses_making_reads_no_file_beside_the_folder(tmp_path):
    folder = _write(tmp_path, 2)
    shutil.copy(folder / "weights.safetensors", tmp_path / "outside.safetensors")
    said = json.loads((folder / "manifest.json").read_text())
    files = said["content"]["files"]
    files["../outside.safetensors"] = files.pop("weights.safetensors")
    said["sha256"] = commit._sha256(said["content"])
    (folder / "manifest.json").write_text(json.dumps(said))
    with pytest.raises(commit.RefusedError, match="is no file of a checkpoint"):
        commit.verify(folder)


def test_a_file_that_is_no_safetensors_is_refused_whatever_its_manifest_says(tmp_path):
    folder = _write(tmp_path, 2)
    (folder / "weights.safetensors").write_bytes((2**62).to_bytes(8, "little") + b"{}")
    said = json.loads((folder / "manifest.json").read_text())
    said["content"]["files"]["weights.safetensors"] = {
        "bytes": 10,
        "sha256": commit.sha256_of(folder / "weights.safetensors"),
    }
    said["sha256"] = commit._sha256(said["content"])
    (folder / "manifest.json").write_text(json.dumps(said))
    with pytest.raises(commit.RefusedError, match="can't be read"):
        commit.verify(folder)


def _save_and_remove(folder):
    _write(folder, 2, value=2.0)
    commit.remove(folder / "step-0000000000")


def test_a_save_that_is_killed_anywhere_leaves_the_one_before(tmp_path):
    places = 0
    while True:
        folder = tmp_path / str(places)
        _write(folder, 0), _write(folder, 1, value=1.0)
        was_killed = dies_at(places + 1, lambda folder=folder: _save_and_remove(folder))
        found, refused = commit.newest(folder)
        assert found.step in (1, 2)
        assert found.facts["value"] == float(found.step)
        assert refused == []
        if not was_killed:
            assert found.step == 2
            break
        places += 1
        # Whoever comes next can write it.
        _write(folder, 3, value=3.0)
        assert commit.newest(folder)[0].step == 3
    assert places >= 10


def test_a_save_without_room_leaves_nothing_of_itself(tmp_path, monkeypatch):
    _write(tmp_path, 1)

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(commit, "sync", full)
    with pytest.raises(OSError, match="No space"):
        _write(tmp_path, 2)
    assert os.listdir(tmp_path) == ["step-0000000001"]
