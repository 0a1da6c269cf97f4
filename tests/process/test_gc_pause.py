import gc
import subprocess
import sys

import pytest

from tests.jobs.workers import ROOT
from tfscale.process.gc_pause import paused_until_started


@pytest.fixture(autouse=True)
def _collector_as_it_was():
    gc.unfreeze()  # what another test of this process, or who runs it, may have frozen
    yield
    gc.unfreeze()
    gc.enable()


def test_nothing_is_collected_before_the_start_is_over():
    with paused_until_started() as started:
        assert not gc.isenabled()
        started()
        assert gc.isenabled()


def test_what_the_start_made_is_not_looked_through_again():
    with paused_until_started() as started:
        before = gc.get_freeze_count()
        kept = [[number] for number in range(1000)]
        started()
        assert gc.get_freeze_count() >= before + len(kept)
        objects = {id(found) for found in gc.get_objects()}
        assert id(kept) not in objects


def test_afterwards_everything_is_collected_as_before():
    with paused_until_started() as started:
        started()
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


# In a process of its own: while another thread collects, `gc.collect` does nothing.
CIRCLE = """
import weakref
from tfscale.process import gc_pause
class Circle:
    def __init__(self):
        self.itself = self
gc_pause.ends_with_the_run = lambda: {is_program}
with gc_pause.paused_until_started() as started:
    circle = weakref.ref(Circle())
    started()
print(circle() is None)
"""


@pytest.mark.parametrize("is_program", [False, True])
def test_what_is_over_is_collected_unless_the_process_ends_anyway(is_program):
    command = [sys.executable, "-c", CIRCLE.format(is_program=is_program)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"{not is_program}\n"


def test_a_start_that_fails_leaves_the_collector_on():
    with pytest.raises(KeyError), paused_until_started():
        raise KeyError
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off():
    gc.disable()
    with paused_until_started() as started:
        started()
        assert not gc.isenabled()
    assert not gc.isenabled()


def test_what_somebody_else_froze_stays_frozen():
    gc.freeze()
    with paused_until_started() as started:
        started()
    assert gc.get_freeze_count() > 0
