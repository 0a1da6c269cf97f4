"""R8 and R11 in short: several kinds of faults in one training, and the result of none."""

import pytest

from tests.faults.long_run import Fault, epochs_for, play
from tests.faults.soak import failures_of

pytestmark = pytest.mark.long

FAULTS = [
    Fault("exception_in_thread", 6, 1),
    Fault("sigkill", 13, 1),
    Fault("kill_in_save", 22, 0),
    Fault("cut_link", 33, 1),
    Fault("sigterm", 44, 1),
    Fault("full_disk", 54, 0),
]


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """A run without faults, and one with them."""
    folder = tmp_path_factory.mktemp("soak")
    epochs = epochs_for(FAULTS)
    return play(folder / "clean", [], epochs=epochs), play(folder / "faulty", FAULTS, epochs=epochs)


def test_faults_of_many_kinds_change_nothing_and_leave_nothing_behind(played):
    clean, faulty = played
    assert failures_of(clean, faulty, FAULTS) == []


def test_each_fault_came_once_and_the_run_was_started_again_after_those_that_end_it(played):
    clean, faulty = played
    assert [note["kind"] for note in faulty.notes] == [fault.kind for fault in FAULTS]
    assert clean.launches == 1
    assert faulty.launches == 2  # SIGTERM ends the launcher, too
    assert faulty.attempts >= 5
    assert clean.result()[2]["starts"] == 1 < faulty.result()[2]["starts"]


def test_a_connection_that_was_cut_off_is_called_so_unless_nothing_waited_for_it(played):
    _, faulty = played
    said = (faulty.folder / "launcher.log").read_text()
    times = [note["at"] for note in faulty.notes[3:5]]  # of the cut, and of the fault after it
    process, later = ([one.process for one in faulty.steps if one.at < at][-1] for at in times)
    line = "A connection between workers was cut off, though all of them run; expected it to hold"
    assert (line in said) == (process != later), said
    assert "UnavailableError" not in said
