import itertools

import pytest

from tfscale.errors import ConfigError
from tfscale.fit.loop.loop_length import fixed_steps_per_call, next_steps_per_call


@pytest.mark.parametrize(
    ("current", "step_seconds", "limit", "steps"),
    [
        (1, 0.1, 1000, 8),  # ten would fit; eight times as many is the most
        (8, 0.1, 1000, 10),
        (10, 0.1, 1000, 10),
        (100, 0.1, 1000, 10),  # down at once: Ctrl-C waits for it
        (1, 5.0, 1000, 1),
        (64, 0.001, 100, 100),
        (64, 0.001, 3, 3),
        (4, 0.0, 1000, 32),
        (4, 5e-324, 1000, 32),
        (4, float("inf"), 1000, 1),
    ],
)
def test_the_loop_aims_at_a_second_within_its_bounds(current, step_seconds, limit, steps):
    assert next_steps_per_call(current, step_seconds, limit=limit) == steps


def test_the_loop_aims_at_the_time_asked_for():
    assert next_steps_per_call(100, 0.1, 5.0, limit=1000) == 50


def test_the_loop_settles_where_a_call_takes_about_a_second():
    steps, visited = 1, []
    for _ in range(6):
        steps = next_steps_per_call(steps, 0.002, limit=10_000)
        visited.append(steps)
    assert visited == [8, 64, 500, 500, 500, 500]


def test_the_result_never_leaves_1_to_the_limit():
    bounds = itertools.product((1, 7, 1000), (0.0, 1e-9, 0.3, 1e9), (1e-3, 1.0), (1, 5, 10**6))
    for current, step_seconds, target, limit in bounds:
        steps = next_steps_per_call(current, step_seconds, target, limit=limit)
        assert 1 <= steps <= min(limit, 8 * current)


@pytest.mark.parametrize(
    ("current", "step_seconds", "target", "limit"),
    [(0, 1.0, 1.0, 1), (1, -1.0, 1.0, 1), (1, float("nan"), 1.0, 1), (1, 1.0, 0.0, 1)]
    + [(1, 1.0, 1.0, 0)],
)
def test_a_decision_on_impossible_numbers_is_refused(current, step_seconds, target, limit):
    with pytest.raises(ValueError, match="cannot decide"):
        next_steps_per_call(current, step_seconds, target, limit=limit)


@pytest.mark.parametrize(
    ("step_seconds", "steps"),
    [(0.01, 100), (0.2, 8), (0.7, 7), (2.0, 2), (30.0, 1)],
)
def test_long_steps_are_counted_rather_than_timed_within_patience(step_seconds, steps):
    assert next_steps_per_call(100, step_seconds, limit=1000) == steps


@pytest.mark.parametrize(
    ("flag", "compiled", "steps"), [(0, 1, 0), (7, 1, 7), (0, 4, 4), (4, 4, 4), (1, 1, 1)]
)
def test_who_has_said_how_many_steps_a_loop_takes_is_obeyed(flag, compiled, steps):
    assert fixed_steps_per_call(flag, compiled) == steps


def test_a_flag_that_contradicts_compile_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"--steps_per_execution=8 and compile\(steps_per_exec"):
        fixed_steps_per_call(8, 4)
