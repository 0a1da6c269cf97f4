import shutil

import pytest

from tfscale.files.atomic import write_text
from tfscale.supervise.run_progress import Before, RunProgress


def _commit(run_dir, step):
    """As a checkpoint is committed: under another name first."""
    unfinished = run_dir / "checkpoints" / f".tmp-{step}"
    unfinished.mkdir(parents=True)
    return unfinished.rename(run_dir / "checkpoints" / f"step-{step:010d}")


def test_a_run_without_a_folder_has_not_begun(tmp_path):
    for run_dir in (None, tmp_path / "run"):
        progress = RunProgress(run_dir, 0)
        assert (progress.step, progress.is_done, progress.is_visible) == (None, False, False)


def test_the_highest_committed_step_counts(tmp_path):
    progress = RunProgress(tmp_path, 0)
    _commit(tmp_path, 9)
    assert (progress.step, progress.is_visible) == (9, True)
    _commit(tmp_path, 1234)
    (tmp_path / "checkpoints" / ".tmp-step-0000005000").mkdir()
    (tmp_path / "checkpoints" / "best").mkdir()
    assert progress.step == 1234


def test_what_was_there_before_is_no_progress(tmp_path):
    _commit(tmp_path, 500)
    (tmp_path / "report.json").write_text("{}")
    progress = RunProgress(tmp_path, 0)
    assert (progress.step, progress.is_done) == (None, False)
    _commit(tmp_path, 600)
    (tmp_path / "report.json").unlink()
    (tmp_path / "report.json").write_text("{} ")
    assert (progress.step, progress.is_done) == (600, True)


def test_a_run_that_was_overwritten_counts_from_its_own_first_checkpoint(tmp_path):
    _commit(tmp_path, 500)
    progress = RunProgress(tmp_path, 0)
    shutil.rmtree(tmp_path / "checkpoints")
    assert progress.step is None
    _commit(tmp_path, 100)
    assert progress.step == 100


def test_a_node_without_the_checkpoints_sees_the_step_that_its_worker_has_left(tmp_path):
    (tmp_path / "logs").mkdir()
    mark = tmp_path / "logs" / "worker-1.step"
    write_text(mark, "8")
    progress = RunProgress(tmp_path, 1)
    assert (progress.step, progress.is_visible) == (None, True)  # of an earlier run
    write_text(mark, "8")
    assert progress.step == 8
    write_text(mark, "12")
    assert (progress.step, RunProgress(tmp_path, 2).is_visible) == (12, False)
    mark.write_text("twelve")
    assert progress.step is None


def test_another_process_looks_on_from_where_the_first_one_began(tmp_path):
    _commit(tmp_path, 500)
    (tmp_path / "report.json").write_text("{}")
    before = RunProgress(tmp_path, 0).before
    _commit(tmp_path, 600)
    seen = RunProgress(tmp_path, 0, Before.of_text(before.as_text()))
    assert (seen.before, seen.step, seen.is_done) == (before, 600, False)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"checkpoints": {"x": [1]}, "report": null}'])
def test_what_says_nothing_of_a_folder_is_refused(text):
    with pytest.raises(ValueError):
        Before.of_text(text)
