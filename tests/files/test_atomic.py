import pytest

from tfscale.files import atomic


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_gets_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "model.keras"
    with atomic.replacing(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        temporary.write_text("whole")
    assert _names(tmp_path) == ["model.keras"]
    assert path.read_text() == "whole"


def test_a_temporary_file_lies_where_a_rename_is_one_operation(tmp_path):
    with atomic.replacing(tmp_path / "model.keras") as temporary:
        temporary.touch()
    assert temporary.parent == tmp_path
    assert temporary.suffix == ".keras"  # Keras asks for it
    assert temporary.name.startswith(atomic.TEMPORARY_PREFIX)  # by which the next run removes it


def test_a_file_that_fails_half_way_leaves_the_old_one_alone(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyError), atomic.replacing(path) as temporary:
        temporary.write_text("ne")
        raise KeyError
    assert [each.read_text() for each in tmp_path.iterdir()] == ["old"]


def test_a_file_that_cannot_be_made_durable_leaves_the_old_one_alone(tmp_path, monkeypatch):
    path = tmp_path / "file"
    atomic.write_text(path, "old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        atomic.write_text(path, "new")
    assert [each.read_text() for each in tmp_path.iterdir()] == ["old"]


def test_a_body_that_writes_nothing_is_an_error_and_not_an_empty_file(tmp_path):
    with pytest.raises(FileNotFoundError), atomic.replacing(tmp_path / "file"):
        pass
    assert _names(tmp_path) == []


def test_what_killed_processes_left_unfinished_is_removed_and_nothing_else(tmp_path):
    (tmp_path / ".tmp-1-step-0000000005").mkdir()
    (tmp_path / ".tmp-1-step-0000000005" / "weights.safetensors").write_text("half")
    (tmp_path / ".tmp-2-report.json").write_text("{")
    elsewhere = tmp_path / "step-0000000004"
    elsewhere.mkdir()
    (elsewhere / "manifest.json").write_text("{}")
    (tmp_path / ".tmp-3-link").symlink_to(elsewhere)
    atomic.remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000000004"]
    assert (elsewhere / "manifest.json").exists()
    atomic.remove_unfinished(tmp_path / "nowhere")
