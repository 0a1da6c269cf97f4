from tools.doctor import shared_folder


def test_what_one_node_writes_another_reads(tmp_path):
    run_dir = str(tmp_path / "run")
    written = shared_folder.write(run_dir, "probe-1")
    read = shared_folder.read(run_dir, "probe-1")
    assert read["is_seen"] and read["bytes_per_second"] > 0
    assert shared_folder.judge(run_dir, {0: written, 1: read}) == []
    shared_folder.remove(run_dir, "probe-1")
    assert list((tmp_path / "run").iterdir()) == []


def test_what_else_is_in_the_folder_stays(tmp_path):
    (tmp_path / "doctor").mkdir()
    (tmp_path / "doctor" / "links.json").touch()
    shared_folder.write(str(tmp_path), "probe-1")
    shared_folder.remove(str(tmp_path), "probe-1")
    assert [path.name for path in (tmp_path / "doctor").iterdir()] == ["links.json"]


def test_another_folder_is_not_shared(tmp_path, monkeypatch):
    monkeypatch.setattr(shared_folder, "_SEEN_SECONDS", 0.1)
    assert shared_folder.read(str(tmp_path), "probe-1") == {"is_seen": False}
    (found,) = shared_folder.judge("runs/a", {1: {"is_seen": False}})
    assert (found.node, found.reason.value, found.severity.value) == (
        1,
        "folder not shared",
        "warn",
    )


def test_a_folder_that_cannot_be_written_to_is_the_end(tmp_path):
    (tmp_path / "file").touch()
    written = shared_folder.write(str(tmp_path / "file"), "probe-1")
    (found,) = shared_folder.judge("runs/a", {0: written})
    assert (found.reason.value, found.severity.value) == ("folder not writable", "fail")
    assert found.came == f"--run_dir=runs/a: {written['error']}"


def test_a_file_system_that_hangs_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(shared_folder, "SECONDS", 0.1)
    monkeypatch.setattr(shared_folder, "_SEEN_SECONDS", 1.0)
    said = shared_folder.read(str(tmp_path), "probe-1")
    assert said == {"error": "it has not answered within 10 s"}


def test_a_slow_folder_is_a_warning():
    (found,) = shared_folder.judge("runs/a", {1: {"is_seen": True, "bytes_per_second": 1e6}})
    assert (found.node, found.reason.value) == (1, "folder slow")
