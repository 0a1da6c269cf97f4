"""R8 for kinds of models and callbacks: a run that was cut off ends as one that wasn't."""

import json
import sys

import pytest

from tests.jobs.workers import start_all

pytestmark = [pytest.mark.long, pytest.mark.promise("resuming")]

SECONDS = 400  # of all of them, on a busy machine
# Of the gallery, what keeps something beside weights; the others keep nothing that these don't.
NAMES = (
    *("keras_patience", "keras_files", "keras_rates", "float16", "int8", "random"),
    *("variational_autoencoder", "adversarial_pair", "averaged_weights", "metrics_of_extremes"),
)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out = tmp_path_factory.mktemp("resuming")
    command = [sys.executable, "-m", "tests.faults.resuming", str(out), "2", *NAMES]
    (ended,) = start_all([command], deadline_seconds=SECONDS, is_warm=True)
    assert ended.code == 0, ended.err
    return json.loads((out / "found.json").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_a_run_that_was_cut_off_ends_as_one_that_was_not(found, name):
    assert "error" not in found[name], found[name]["error"]
    clean, again = found[name]["clean"], found[name]["again"]
    assert "a fault" in found[name]["fault"]
    assert (clean["starts"], again["starts"]) == (1, 2)
    assert "resumes from" in again["shown"]
    for what in ("steps", "history", "files", "sha256"):
        assert again[what] == clean[what]


def test_files_of_callbacks_are_compared(found):
    assert found["keras_files"]["clean"]["files"]["log.csv"].count("\n") == 7
    assert "dtype" in found["keras_rates"]["clean"]["files"]["draws.txt"] or (
        "array" in found["keras_rates"]["clean"]["files"]["draws.txt"]
    )
