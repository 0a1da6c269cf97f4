"""A run directory that is deleted, replaced or full in the middle of a run, on two workers."""

import json
import textwrap
from types import SimpleNamespace

import keras
import pytest

from tests.jobs.workers import start_all, worker_commands

pytestmark = [pytest.mark.long, pytest.mark.promise("directory")]

DEADLINE_SECONDS = 120
MODEL = """
    import os, resource, shutil, signal
    import keras, tfscale

    run = {run!r}

    def build(spec, num_classes):
        return keras.Sequential(
            [keras.Input(spec.shape), keras.layers.Flatten(),
             keras.layers.Dense(64), keras.layers.Dense(num_classes)]
        )

    def limit(num_bytes):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))

    class Fault(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0 and tfscale.is_chief():
                {fault}

        def on_train_end(self, logs=None):
            if tfscale.is_chief():
                {end}

    def callbacks():
        return [Fault()]
"""
FAULTS = {
    "deleted": ("shutil.rmtree(run)", "pass"),
    "replaced": ("shutil.rmtree(run); open(run, 'w').close()", "pass"),
    "full for a while": ("limit(4096)", "limit(resource.RLIM_INFINITY)"),
    "full": ("limit(4096)", "pass"),
    "full for a checkpoint": ("limit(4096)", "pass"),
}
# Those are about what a run leaves beside checkpoints, one of which would end it first.
WITHOUT = ("replaced", "full for a while", "full")


def _trained(folder, fault):
    run, temporary = folder / "run", folder / "temporary"
    temporary.mkdir()
    begun, ended = FAULTS[fault]
    source = textwrap.dedent(MODEL).format(run=str(run), fault=begun, end=ended)
    (folder / "network.py").write_text(source)
    flags = ["--dataset=datasets/digits.py", f"--model={folder / 'network.py'}"]
    flags += [f"--run_dir={run}", "--epochs=9", "--steps_per_epoch=2"]
    flags += ["--keep_checkpoints=0"] * (fault in WITHOUT)
    workers = start_all(
        worker_commands(flags),
        deadline_seconds=DEADLINE_SECONDS,
        environ={"TMPDIR": str(temporary)},
        is_warm=fault.startswith("full"),  # the others are about their temporary folder
    )
    return SimpleNamespace(run=run, temporary=temporary, workers=workers)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What two workers left after each fault."""
    return {fault: _trained(tmp_path_factory.mktemp("lost"), fault) for fault in FAULTS}


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def _complaints(trained):
    """Of the chief, about curves; a busy machine also lets it wait for the other worker."""
    return [line for line in trained.workers[0].err.splitlines() if line.startswith("Curves in")]


def _last_lines(trained):
    return [worker.err.rstrip().rpartition("\n")[2] for worker in trained.workers]


def test_after_a_deletion_the_folder_is_made_again_and_everything_is_there(trained):
    found = trained["deleted"]
    assert [worker.code for worker in found.workers] == [0, 0], found.workers[0].err
    assert _names(found.run) == [
        *("checkpoints", "config.json", "model.keras", "report.json", "tensorboard")
    ]
    assert json.loads((found.run / "report.json").read_text())["steps"] == 18
    assert json.loads((found.run / "config.json").read_text())["epochs"] == 9
    assert keras.saving.load_model(found.run / "model.keras").compiled
    assert found.run.stat().st_mode & 0o777 == 0o700
    (line,) = _complaints(found)
    assert f"Curves in {found.run}/tensorboard are incomplete: No such file" in line
    assert _names(found.temporary) == []


def test_with_a_file_in_its_place_model_and_report_are_where_the_last_line_says(trained):
    found = trained["replaced"]
    assert [worker.code for worker in found.workers] == [2, 2]
    (kept,) = (path for path in found.temporary.iterdir() if path.is_dir())
    assert _names(kept) == ["model.keras", "report.json"]
    assert json.loads((kept / "report.json").read_text())["steps"] == 18
    for line in _last_lines(found):
        assert f"this run's model.keras, report.json went to {kept}" in line
        assert f'keras.saving.load_model("{kept}/model.keras")' in line


def test_a_disk_that_is_full_for_a_while_costs_curves_and_nothing_else(trained):
    found = trained["full for a while"]
    assert [worker.code for worker in found.workers] == [0, 0], found.workers[0].err
    assert {"model.keras", "report.json"} <= set(_names(found.run))
    (line,) = _complaints(found)
    assert "tensorboard are incomplete" in line


def test_a_disk_that_is_full_everywhere_ends_both_workers_with_the_reason(trained):
    found = trained["full"]
    assert [worker.code for worker in found.workers] == [2, 2]
    for line in _last_lines(found):
        assert "model.keras can't be written (File too large); expected room" in line
    assert not list(found.run.glob(".tmp-*"))


def test_a_checkpoint_that_finds_no_room_ends_both_workers_with_the_reason(trained):
    found = trained["full for a checkpoint"]
    assert [worker.code for worker in found.workers] == [1, 1]
    for line in _last_lines(found):
        assert f"A checkpoint can't be written to {found.run}/checkpoints (" in line
        assert "the same command then" in line
    assert not list((found.run / "checkpoints").glob(".tmp-*"))
