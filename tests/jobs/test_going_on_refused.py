"""What a run that was stopped is not gone on with: other flags, other data, another model."""

import re
import shutil

import pytest

from tests.faults.runs import flags
from tests.jobs.workers import start_all, worker_commands

pytestmark = pytest.mark.long

SECONDS = 120


def _run(folder, *more, num_workers=1):
    return start_all(
        worker_commands(flags(folder, *more), num_workers=num_workers),
        deadline_seconds=SECONDS,
        is_warm=True,
    )


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that a failing callback has ended at step 5."""
    folder = tmp_path_factory.mktemp("stopped")
    (ended,) = _run(folder, "--model_option=fail_at=5", "--checkpoint_every_steps=1")
    assert ended.code == 1, ended.err
    return folder


def _refused(stopped, folder, *more):
    shutil.copytree(stopped / "run", folder / "run")
    before = sorted(path.name for path in (folder / "run").rglob("*"))
    (ended,) = _run(folder, f"--model_option=losses_file={stopped / 'losses'}", *more)
    assert ended.code == 2, ended.err
    after = sorted(path.name for path in (folder / "run").rglob("*"))
    assert after == before  # nothing is lost by asking
    return ended.err.strip().splitlines()[-1]


SAME = ("--model_option=fail_at=5", "--checkpoint_every_steps=1")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--seed=6",), r"--seed was 5 and is 6"),
        (("--epochs=2",), r"--epochs was 3 and is 2"),
        (("--optimizer=sgd",), r"--optimizer was adamw and is sgd"),
    ],
)
def test_other_flags_are_refused_with_what_they_were(stopped, tmp_path, more, said):
    line = _refused(stopped, tmp_path, *SAME, *more)
    assert re.search(f"holds a run that was stopped.*{said}.*--overwrite to start over", line)


DATA = """
from tests.faults import dataset
from tests.faults.dataset import *

def load(split):
    found = dataset.load(split)
    return found.skip({skipped}) if split == "train" else found
"""


def test_other_data_in_the_same_place_is_refused(tmp_path):
    file = tmp_path / "dataset.py"
    for skipped, code in ((0, 1), (1, 2)):
        file.write_text(DATA.format(skipped=skipped))
        (ended,) = _run(tmp_path, *SAME, f"--dataset={file}")
        assert ended.code == code, ended.err
    assert "The records of load('train'), or their order, are others than those" in ended.err


def test_overwrite_begins_anew(stopped, tmp_path):
    shutil.copytree(stopped / "run", tmp_path / "run")
    (ended,) = _run(tmp_path, "--overwrite", "--seed=6")
    assert ended.code == 0, ended.err
    assert "resumes from" not in ended.out
    assert "resumes from" not in ended.err
