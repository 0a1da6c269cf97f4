import shutil

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tfscale.report.curve_files import CurveFiles


def _steps(folder, curve="loss"):
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return [event.step for event in events.Tensors(curve)] if events.Tags()["tensors"] else []


def test_files_of_a_folder_that_was_removed_are_begun_anew_and_it_is_said_once(tmp_path):
    said, made = [], []
    files = CurveFiles(tmp_path / "run" / "tensorboard", lambda: made.append(1), said.append)
    files.text("train", "config", "| setting |")
    files.write("train", {"loss": 1.0}, 1)
    for step in (2, 5):
        files.flush()
        shutil.rmtree(tmp_path / "run")
        files.write("train", {"loss": 1.0}, step)  # sees that it is gone
        files.write("train", {"loss": 1.0}, step + 1)
    files.close()
    assert _steps(tmp_path / "run" / "tensorboard" / "train") == [6]
    assert len(_steps(tmp_path / "run" / "tensorboard" / "train", "config")) == 1
    (line,) = said
    assert f"Curves in {tmp_path}/run/tensorboard are incomplete: No such file" in line
    assert len(made) == 3


def test_a_full_disk_is_said_once_and_curves_go_on_when_there_is_room(tmp_path, files_of_at_most):
    said = []
    files = CurveFiles(tmp_path, complain=said.append)
    files.write("train", {"loss": 1.0}, 1)
    files.flush()
    with files_of_at_most(0):
        for step in range(2, 40):
            files.write("train", {"loss": 1.0}, step)
            files.flush()
    files.write("train", {"loss": 1.0}, 50)
    files.write("train", {"loss": 1.0}, 51)
    files.close()
    (line,) = said
    assert "; File too large. Training goes on" in line
    assert {1, 51} <= set(_steps(tmp_path / "train"))


def test_a_file_in_the_place_of_the_folder_ends_nothing(tmp_path):
    (tmp_path / "tensorboard").write_text("mine")
    said = []
    files = CurveFiles(tmp_path / "tensorboard", complain=said.append)
    files.text("train", "config", "| setting |")
    for step in range(3):
        files.write("train", {"loss": 1.0}, step)
    files.flush()
    files.close()
    assert len(said) == 1
    assert (tmp_path / "tensorboard").read_text() == "mine"


@pytest.mark.parametrize("where", ["write", "flush", "close"])
def test_an_error_of_a_writer_is_said_with_its_reason_wherever_it_is_raised(
    tmp_path, monkeypatch, where
):
    real = tf.summary.create_file_writer

    class Failing:
        def __init__(self, folder):
            self._writer, self._flushes = real(folder), 0

        def as_default(self):
            if where == "write":
                raise tf.errors.ResourceExhaustedError(None, None, "the disk is full")
            return self._writer.as_default()

        def flush(self):
            self._flushes += 1
            if where == "flush" and self._flushes > 1:
                raise tf.errors.UnknownError(None, None, "the disk is full")

        def close(self):
            if where == "close":
                raise OSError(28, "the disk is full")

    monkeypatch.setattr(tf.summary, "create_file_writer", Failing)
    said = []
    files = CurveFiles(tmp_path, complain=said.append)
    files.write("train", {"loss": 1.0}, 1)
    files.flush()
    files.close()
    assert len(said) == (where != "close")  # what is flushed is on the disk
    assert all("the disk is full" in line for line in said)


def test_a_folder_that_cannot_be_made_again_is_asked_for_at_each_point(tmp_path):
    said, asked = [], []

    def make_again():
        asked.append(1)
        raise PermissionError(13, "Permission denied", "runs")

    files = CurveFiles(tmp_path / "tensorboard", make_again, said.append)
    for step in range(3):
        files.write("train", {"loss": 1.0}, step)
    assert len(asked) == 3
    assert len(said) == 1 and "Permission denied, runs" in said[0]
    assert not (tmp_path / "tensorboard").exists()
