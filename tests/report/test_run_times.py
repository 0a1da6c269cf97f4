from types import SimpleNamespace

import pytest

from tests.report.boundaries import boundary_of
from tfscale.fit.loop.events import EpochEnd, Point
from tfscale.report import run_times as pace_module
from tfscale.report.run_times import Pace


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is set."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(pace_module.time, "perf_counter", lambda: clock.now)
    return clock


def test_a_step_takes_as_long_as_on_the_slowest_worker(clock):
    pace = Pace()
    for boundary in (boundary_of(seconds=(60.0, 60.0)), boundary_of()):
        pace.at_boundary(boundary)
    assert pace.times.num_steps == 10
    assert pace.times.step_seconds_median == pytest.approx(0.4)
    # Half a second on one worker and two on the other, of the four that all waited for.
    assert pace.times.input_wait_share == pytest.approx(1.25 / 4)
    assert pace.times.exposed_share == pytest.approx(0.5 / 4)
    assert pace.times.travel_seconds == pytest.approx(2.0 / 10)


def test_the_first_step_is_timed_once(clock):
    pace = Pace()
    clock.now = 103.0
    pace.begin(None, None)
    assert pace.seconds_to_first_step is None
    clock.now = 110.0
    pace.at_boundary(boundary_of())
    clock.now = 120.0
    pace.at_boundary(boundary_of())
    assert pace.seconds_to_first_step == 7.0
    seconds = pace.seconds_until(saving=119.0)
    assert (seconds["startup"], seconds["to_first_step"], seconds["train"]) == (3.0, 10.0, 16.0)
    assert (seconds["checkpoint"], seconds["total"]) == (1.0, 20.0)


def test_the_times_of_evaluations_add_up(clock):
    pace = Pace()
    for epoch, seconds in enumerate((3.0, 4.0)):
        clock.now += 100.0  # of training, which does not count
        pace.at_point(Point("fit", 5, 5, 5))
        clock.now += seconds / 2
        pace.at_point(Point("validation", 3, 3, 5))
        clock.now += seconds / 2
        pace.at_epoch_end(EpochEnd(epoch, 5, {}))
    with pace.evaluating():
        clock.now += 1.0
    assert pace.evaluate_seconds == 8.0


def test_what_a_checkpoint_keeps_is_continued():
    first, second = Pace(), Pace()
    for boundary in (boundary_of(is_warm=False), boundary_of()):
        first.at_boundary(boundary)
    second.set_state(first.get_state())
    assert second.times.blocks == first.times.blocks
    assert (second.report()["starts"], second.first_start) == (2, first.first_start)
