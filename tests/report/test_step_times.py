import itertools
import random

import numpy as np
import pytest

from tfscale.fit.loop_length import next_steps_per_call
from tfscale.report.step_times import StepTimes, percentile


def _times(*blocks):
    times = StepTimes()
    for block in blocks:
        times.add(*block)
    return times


def test_percentiles_are_those_of_numpy():
    rng = random.Random(0)  # noqa: S311  # invented times, no secret
    for size in (1, 2, 3, 10, 101):
        values = [rng.random() for _ in range(size)]
        for q in (0, 5, 10, 50, 90, 95, 99.5, 100):
            assert percentile(values, q) == pytest.approx(np.percentile(values, q))


def test_counts_stand_for_the_list_written_out():
    rng = random.Random(1)  # noqa: S311  # invented times, no secret
    for size in (1, 2, 7):
        values = [rng.random() for _ in range(size)]
        counts = [rng.randint(1, 9) for _ in values]
        written_out = np.repeat(values, counts)
        for q in (0, 10, 50, 90, 95, 100):
            assert percentile(values, q, counts) == pytest.approx(np.percentile(written_out, q))


@pytest.mark.parametrize(
    ("values", "q"), [([], 50), ([1.0], -1), ([1.0], 101), ([1.0], float("nan"))]
)
def test_a_percentile_of_nothing_or_out_of_range_is_refused(values, q):
    with pytest.raises(ValueError, match="percentile got"):
        percentile(values, q)


def test_the_first_block_is_left_out_once_there_is_a_second():
    times = _times((1, 60.0, 50.0))
    assert (times.step_seconds_median, times.num_steps) == (60.0, 1)
    times.add(10, 5.0, 0.0)
    assert (times.step_seconds_median, times.num_steps) == (0.5, 10)
    assert times.step_seconds_p95 == 0.5
    assert times.input_wait_share == 0.0


def test_a_block_of_k_steps_counts_k_times():
    # 1 slow step of 9 s among 3 of 1 s: the middle one is a fast one.
    times = _times((1, 60.0, 0.0), (1, 9.0, 0.0), (3, 3.0, 0.0))
    assert times.step_seconds_median == 1.0
    assert times.num_steps == 4


def test_the_95th_percentile_sees_the_slow_steps():
    times = _times((1, 60.0, 0.0), (90, 90.0, 0.0), (10, 50.0, 0.0))
    assert times.step_seconds_median == 1.0
    assert times.step_seconds_p95 == 5.0


def test_the_rate_has_a_median_within_its_range():
    # Steps of 0.1 s, 0.2 s and 0.4 s, ten each, of 32 examples.
    times = _times((1, 60.0, 0.0), (10, 1.0, 0.0), (10, 2.0, 0.0), (10, 4.0, 0.0))
    rate = times.examples_per_second(global_batch=32)
    assert rate == pytest.approx({"median": 160.0, "p10": 80.0, "p90": 320.0})


def test_the_share_of_waiting_is_one_of_time_not_of_blocks():
    times = _times((1, 60.0, 60.0), (1, 1.0, 1.0), (9, 9.0, 0.0))
    assert times.input_wait_share == pytest.approx(0.1)


def test_more_waiting_than_time_counts_as_all_of_it():
    assert _times((1, 1.0, 7.0)).input_wait_share == 1.0


@pytest.mark.parametrize(
    "block",
    [(0, 1.0, 0.0), (1, 0.0, 0.0), (1, -1.0, 0.0), (1, 1.0, -0.1), (1, float("nan"), 0.0)]
    + [(1, float("inf"), 0.0), (1, 1.0, float("nan"))],
)
def test_a_block_that_cannot_be_is_refused_and_not_counted(block):
    times = StepTimes()
    with pytest.raises(ValueError, match="no block of steps"):
        times.add(*block)
    assert times.num_steps == 0


@pytest.mark.parametrize(
    "ask",
    [
        lambda times: times.step_seconds_median,
        lambda times: times.step_seconds_p95,
        lambda times: times.input_wait_share,
        lambda times: times.examples_per_second(1),
    ],
)
def test_numbers_without_a_step_are_refused(ask):
    with pytest.raises(ValueError, match="No step was timed yet"):
        ask(StepTimes())


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
