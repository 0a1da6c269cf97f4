"""Slow workers are named from invented boundaries."""

import numpy as np
import pytest

from tfscale.fit.boundary_exchange import Boundary
from tfscale.health.stragglers import Stragglers

pytestmark = pytest.mark.promise("standstill")


def _boundary(step, steps, computing, *, waited=(0.0, 0.0), late=(0.0, 0.0), is_warm=True):
    """A loop in which worker k computes for so long a step; the others wait for the slowest.

    Args:
        step: after it.
        steps: of it.
        computing: seconds of a step, of each worker.
        waited: for input, of these.
        late: seconds that a worker came late to the loop.
    """
    computing, waited, late = (np.asarray(one, np.float64) for one in (computing, waited, late))
    own = steps * computing + late
    whole = own.max()
    return Boundary(
        step,
        steps,
        seconds=whole - late,
        input_wait_seconds=steps * waited,
        exposed_seconds=whole - own,
        travel_seconds=whole - own,
        figures=np.zeros([len(own), 0]),
        is_warm=is_warm,
    )


def _named(stragglers, first, steps, loops, computing, **how):
    """Who is named in loops of so many steps, with the step at which that was."""
    named = []
    for number in range(loops):
        step = first + (number + 1) * steps
        if found := stragglers.add(_boundary(step, steps, computing, **how)):
            named.append((found.worker, step - first, found.cause))
    return named


@pytest.mark.parametrize("steps", [1, 4, 8, 10])
def test_a_worker_slowed_three_times_is_named_within_20_steps(steps):
    stragglers = Stragglers()
    assert not _named(stragglers, 0, steps, 200 // steps, (0.1, 0.11))
    ((worker, after, cause),) = _named(stragglers, 200, steps, 40 // steps, (0.1, 0.33))
    assert (worker, cause) == (1, "compute")
    assert after <= 20


def test_input_and_callbacks_are_told_from_computing():
    how = {"waited": (0.0, 0.25)}
    assert _named(Stragglers(), 0, 8, 4, (0.1, 0.35), **how) == [(1, 16, "input")]
    how = {"late": (3.0, 0.0)}
    assert _named(Stragglers(), 0, 8, 4, (0.1, 0.1), **how) == [(0, 16, "callbacks")]


def test_the_same_worker_is_named_again_only_after_minutes():
    stragglers = Stragglers()
    named = _named(stragglers, 0, 8, 130, (0.1, 0.3))
    first, second = (step for _, step, _ in named)
    assert first == 16
    assert 300.0 <= (second - first) * 0.3 < 306.0
    (found,) = stragglers.found.values()
    assert (found.first_step, found.last_step) == (16, 1040)
    assert found.factor == pytest.approx(3.0)


@pytest.mark.parametrize("steps", [1, 8])
def test_noise_of_a_shared_machine_names_nobody_in_1000_steps(steps):
    random, stragglers = np.random.default_rng(5), Stragglers()
    for step in range(steps, 1001, steps):
        # Each step of each worker is slowed by up to a half, and one in ten three times.
        slowed = random.uniform(1.0, 1.5, [steps, 2]) * np.where(
            random.random([steps, 2]) < 0.1, 3.0, 1.0
        )
        assert stragglers.add(_boundary(step, steps, 0.05 * slowed.mean(axis=0))) is None


def test_a_hiccup_of_one_loop_is_no_straggler():
    stragglers = Stragglers()
    assert not _named(stragglers, 0, 8, 5, (0.1, 0.1))
    assert not _named(stragglers, 40, 8, 1, (0.1, 2.0))
    assert not _named(stragglers, 48, 8, 5, (0.1, 0.1))


def test_a_lone_worker_and_a_loop_that_traces_say_nothing():
    assert not _named(Stragglers(), 0, 8, 5, (0.1,), waited=(0.0,), late=(0.0,))
    assert not _named(Stragglers(), 0, 8, 5, (0.1, 0.5), is_warm=False)


def test_of_four_workers_the_slow_one_is_named():
    nothing = {"waited": np.zeros(4), "late": np.zeros(4)}
    assert _named(Stragglers(), 0, 8, 3, (0.1, 0.12, 0.3, 0.1), **nothing) == [(2, 16, "compute")]
