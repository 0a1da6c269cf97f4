from types import SimpleNamespace

import pytest

from tests.report.boundaries import boundary_of, distributed_with
from tfscale.report import pace as pace_module
from tfscale.report.pace import Pace


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is set."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(pace_module.time, "perf_counter", lambda: clock.now)
    return clock


def test_a_step_takes_as_long_as_on_the_slowest_worker(clock):
    distributed = distributed_with()
    pace = Pace(distributed)
    for boundary in (boundary_of(seconds=(60.0, 60.0)), boundary_of()):
        distributed.boundary = boundary
        pace.on_train_batch_end(0)
    assert pace.times.num_steps == 10
    assert pace.times.step_seconds_median == pytest.approx(0.4)
    # Half a second on one worker and two on the other, of the four that all waited for.
    assert pace.times.input_wait_share == pytest.approx(1.25 / 4)
    assert pace.times.exposed_share == pytest.approx(0.5 / 4)
    assert pace.times.travel_seconds == pytest.approx(2.0 / 10)


def test_the_first_step_is_timed_once(clock):
    pace = Pace(distributed_with(boundary_of()))
    assert pace.seconds_to_first_step is None
    clock.now = 107.0
    pace.on_train_batch_end(0)
    clock.now = 120.0
    pace.on_train_batch_end(1)
    assert pace.seconds_to_first_step == 7.0


def test_the_times_of_evaluations_add_up(clock):
    pace = Pace(distributed_with())
    for seconds in (3.0, 4.0):
        pace.on_test_begin()
        clock.now += seconds
        pace.on_test_end()
        clock.now += 100.0  # of training, which does not count
    assert pace.evaluate_seconds == 7.0


def test_without_a_boundary_there_is_no_block(clock):
    pace = Pace(distributed_with())
    pace.on_train_batch_end(0)
    assert pace.times.num_steps == 0
