import json
import shutil
from types import SimpleNamespace

import pytest

from tfscale.cluster.cluster import Cluster
from tfscale.errors import ConfigError
from tfscale.files.run_directory import RunDirectory

TWO = ("node0:1111", "node1:1111")


def _directory(path, index=0):
    return RunDirectory(str(path), Cluster(TWO, index))


def _claim(path, *, overwrite=False, needed_bytes=0):
    return _directory(path).claim(overwrite=overwrite, needed_bytes=needed_bytes)


def _earlier_run(path):
    (path / "tensorboard" / "train").mkdir(parents=True)
    (path / "tensorboard" / "train" / "events").write_text("curve")
    (path / "checkpoints").mkdir()
    (path / "logs").mkdir()
    (path / "logs" / "worker-0.log").write_text("what happened")
    for name in ("report.json", "config.json", "model.keras", "notes.txt"):
        (path / name).write_text("old")


def _names(path):
    return sorted(entry.name for entry in path.iterdir())


def test_a_new_folder_is_made_with_its_parents_and_holds_nothing(tmp_path):
    assert _claim(tmp_path / "runs" / "first") == ""
    assert _names(tmp_path / "runs" / "first") == []


def test_making_the_object_touches_nothing(tmp_path):
    _directory(tmp_path / "run")
    assert _names(tmp_path) == []


def test_a_folder_with_only_logs_and_files_of_others_is_free(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    assert _claim(tmp_path) == ""
    assert _names(tmp_path) == ["logs", "notes.txt"]


@pytest.mark.parametrize("name", ["report.json", "config.json", "model.keras"])
def test_a_folder_with_another_run_is_refused_and_stays_as_it_is(tmp_path, name):
    (tmp_path / name).write_text("old")
    reason = _claim(tmp_path)
    assert f"--run_dir={tmp_path} holds another run ({name}); expected a new folder" in reason
    assert "--overwrite" in reason
    assert "\n" not in reason
    assert (tmp_path / name).read_text() == "old"


@pytest.mark.parametrize("name", ["tensorboard", "checkpoints"])
def test_a_folder_with_the_curves_or_checkpoints_of_another_run_is_refused(tmp_path, name):
    (tmp_path / name).mkdir()
    assert f"holds another run ({name})" in _claim(tmp_path)


def test_overwrite_removes_the_run_and_keeps_logs_and_what_is_not_its_own(tmp_path):
    _earlier_run(tmp_path)
    assert _claim(tmp_path, overwrite=True) == ""
    assert _names(tmp_path) == ["logs", "notes.txt"]
    assert (tmp_path / "logs" / "worker-0.log").read_text() == "what happened"


def test_overwrite_removes_a_link_and_not_what_it_points_to(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "events").write_text("curve")
    run = tmp_path / "run"
    run.mkdir()
    (run / "tensorboard").symlink_to(kept)
    assert _claim(run, overwrite=True) == ""
    assert _names(run) == []
    assert _names(kept) == ["events"]


def test_overwrite_removes_nothing_when_the_new_run_cannot_start(tmp_path, monkeypatch):
    _earlier_run(tmp_path)
    before = _names(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    assert "MiB of space left" in _claim(tmp_path, overwrite=True)
    assert _names(tmp_path) == before


def test_what_a_killed_run_left_half_written_is_removed(tmp_path):
    (tmp_path / ".tmp-1234-model.keras").write_text("half")
    (tmp_path / ".tmp-1234-folder").mkdir()
    assert _claim(tmp_path) == ""
    assert _names(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_refused_with_the_reason(tmp_path):
    (tmp_path / "file").write_text("mine")
    reason = _claim(tmp_path / "file" / "runs" / "first")
    assert f"--run_dir={tmp_path}/file/runs/first can't be written to (Not a directory" in reason
    assert "\n" not in reason
    assert (tmp_path / "file").read_text() == "mine"


def test_a_run_dir_that_is_a_file_is_refused_and_the_file_stays(tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "can't be written to (File exists" in _claim(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_takes_no_file_is_refused_and_nothing_stays_behind(tmp_path, monkeypatch):
    def refuse(path, text):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.write_text", refuse)
    assert "Permission denied" in _claim(tmp_path / "runs" / "first")
    assert _names(tmp_path) == []


def test_too_little_space_is_refused_with_both_sizes_and_nothing_stays_behind(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100 * 2**20))
    reason = _claim(tmp_path / "runs" / "first", needed_bytes=100 * 2**20)
    assert "has 100 MiB of space left; expected at least 116 MiB" in reason
    assert _names(tmp_path) == []


def test_just_enough_space_is_enough(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=116 * 2**20))
    assert _claim(tmp_path / "run", needed_bytes=100 * 2**20) == ""


def test_a_refused_folder_that_was_there_before_stays(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    assert _claim(tmp_path / "run" / "a" / "b") != ""
    assert _names(tmp_path) == ["run"]
    assert _names(tmp_path / "run") == []


def test_json_is_written_readable_in_the_given_order(tmp_path):
    _directory(tmp_path).write_json("report.json", {"workers": 2, "devices": ["CPU"]})
    text = (tmp_path / "report.json").read_text()
    assert list(json.loads(text)) == ["workers", "devices"]
    assert text.endswith("}\n")
    assert _names(tmp_path) == ["report.json"]


def test_a_new_report_replaces_the_old_one(tmp_path):
    for steps in (1, 2):
        _directory(tmp_path).write_json("report.json", {"steps": steps})
    assert json.loads((tmp_path / "report.json").read_text()) == {"steps": 2}


def test_a_worker_that_is_not_the_chief_writes_no_file(tmp_path):
    _directory(tmp_path / "run", index=1).write_json("report.json", {"steps": 1})
    assert _names(tmp_path) == []


def test_every_worker_has_a_log_of_its_own(tmp_path):
    logs = [_directory(tmp_path, index).log.relative_to(tmp_path).as_posix() for index in (0, 1)]
    assert logs == ["logs/worker-0.log", "logs/worker-1.log"]


def test_json_that_cannot_be_finished_keeps_the_old_file_and_leaves_no_half_one(
    tmp_path, monkeypatch
):
    directory = _directory(tmp_path)
    directory.write_json("report.json", {"steps": 1})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ConfigError, match="report.json can't be written .No space left"):
        directory.write_json("report.json", {"steps": 2})
    assert _names(tmp_path) == ["report.json"]
    assert json.loads((tmp_path / "report.json").read_text()) == {"steps": 1}


def test_json_for_a_folder_that_has_gone_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "run").write_text("a file in the folder's place")
    with pytest.raises(ConfigError, match="run/report.json can't be written"):
        _directory(tmp_path / "run").write_json("report.json", {"steps": 1})


def test_a_report_of_a_run_that_diverged_is_still_json(tmp_path):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON (RFC 8259)")

    _directory(tmp_path).write_json("report.json", {"metrics": {"loss": float("nan")}})
    json.loads((tmp_path / "report.json").read_text(), parse_constant=refuse)
