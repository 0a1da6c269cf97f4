import json
import os
import shutil
from types import SimpleNamespace

import pytest

from tfscale.cluster.cluster import Cluster
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


def test_a_name_that_no_file_can_have_is_refused_with_the_reason(tmp_path):
    assert "can't be written to (File name too long" in _claim(tmp_path / ("a" * 5000))
    assert _names(tmp_path) == []


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
    _directory(tmp_path).write_report({"workers": 2, "devices": ["CPU"]})
    text = (tmp_path / "report.json").read_text()
    assert list(json.loads(text)) == ["workers", "devices"]
    assert text.endswith("}\n")
    assert _names(tmp_path) == ["report.json"]


def test_a_new_report_replaces_the_old_one(tmp_path):
    for steps in (1, 2):
        _directory(tmp_path).write_report({"steps": steps})
    assert json.loads((tmp_path / "report.json").read_text()) == {"steps": 2}


def test_a_worker_that_is_not_the_chief_writes_no_file(tmp_path):
    directory = _directory(tmp_path / "run", index=1)
    directory.write_report({"steps": 1})
    directory.write_settings({"epochs": 1})
    assert _names(tmp_path) == []


def test_every_worker_has_a_log_of_its_own(tmp_path):
    logs = [_directory(tmp_path, index).log.relative_to(tmp_path).as_posix() for index in (0, 1)]
    assert logs == ["logs/worker-0.log", "logs/worker-1.log"]


def _full(descriptor):
    raise OSError(28, "No space left on device")


def test_a_report_that_cannot_be_finished_keeps_the_old_one_and_is_said_to_be_lost(
    tmp_path, lasting, monkeypatch
):
    directory = _directory(tmp_path)
    directory.write_report({"steps": 1})
    monkeypatch.setattr("os.fsync", _full)
    directory.write_report({"steps": 2})
    assert "No space left on device" in str(directory.problem)
    assert "report.json is lost" in str(directory.problem)
    assert _names(tmp_path) == ["report.json"]
    assert json.loads((tmp_path / "report.json").read_text()) == {"steps": 1}
    assert _names(lasting) == []


def test_a_report_for_a_folder_that_has_gone_is_elsewhere_and_it_is_said(tmp_path, lasting):
    (tmp_path / "run").write_text("a file in the folder's place")
    directory = _directory(tmp_path / "run")
    directory.write_report({"steps": 1})
    (folder,) = lasting.iterdir()
    assert json.loads((folder / "report.json").read_text()) == {"steps": 1}
    assert f"this run's report.json went to {folder}." in str(directory.problem)
    assert "run can't be written to (File exists)" in str(directory.problem)


def test_settings_that_cannot_be_written_are_no_reason_to_end_a_run(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("os.fsync", _full)
    directory = RunDirectory(str(tmp_path), Cluster(), said.append)
    directory.write_settings({"epochs": 1})
    assert said == [f"{tmp_path}/config.json can't be written (No space left on device)."]
    assert directory.problem is None


def test_a_folder_that_was_removed_is_made_again_with_its_settings(tmp_path):
    run = tmp_path / "run"
    assert _claim(run) == ""
    directory = _directory(run)
    directory.write_settings({"epochs": 1})
    shutil.rmtree(run)
    directory.write_report({"steps": 1})
    assert _names(run) == ["config.json", "report.json"]
    assert directory.problem is None
    assert run.stat().st_mode & 0o777 == 0o700


def test_a_failure_that_is_not_the_disks_is_handed_on_and_leaves_nothing(tmp_path, lasting):
    def fail(path):
        path.write_text("half")
        raise KeyError("no place for it")

    with pytest.raises(KeyError):
        _directory(tmp_path).write("model.keras", fail)
    assert _names(tmp_path) == _names(lasting) == []


def test_a_folder_that_is_made_is_this_users_alone_and_its_parents_are_as_ever(tmp_path):
    os.umask(before := os.umask(0o022))
    assert _claim(tmp_path / "runs" / "first") == ""
    assert (tmp_path / "runs" / "first").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "runs").stat().st_mode & 0o777 == 0o777 & ~before


def test_a_folder_that_is_there_keeps_its_mode(tmp_path):
    (tmp_path / "run").mkdir(mode=0o755)
    mode = (tmp_path / "run").stat().st_mode
    assert _claim(tmp_path / "run") == ""
    assert (tmp_path / "run").stat().st_mode == mode


@pytest.mark.parametrize(("mode", "is_said"), [(0o700, False), (0o755, False), (0o777, True)])
def test_a_folder_that_others_may_write_to_is_pointed_out_in_one_line(tmp_path, mode, is_said):
    said = []
    tmp_path.chmod(mode)
    directory = RunDirectory(str(tmp_path), Cluster(), said.append)
    assert directory.claim(overwrite=False, needed_bytes=0) == ""
    expected = f"--run_dir={tmp_path} may be written to by everybody: "
    assert [line.startswith(expected) for line in said] == [True] * is_said
    assert "\n" not in "".join(said)


def test_a_report_of_a_run_that_diverged_is_still_json(tmp_path):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON (RFC 8259)")

    _directory(tmp_path).write_report({"metrics": {"loss": float("nan")}})
    json.loads((tmp_path / "report.json").read_text(), parse_constant=refuse)
