import random

import numpy as np
import pytest

from tests.report.boundaries import times_of
from tfscale.report.step_times import Block, StepTimes, quantile


def test_counts_stand_for_the_list_written_out():
    rng = random.Random(1)  # invented times, no secret
    for size in (1, 2, 7):
        values = [rng.random() for _ in range(size)]
        counts = [rng.randint(1, 9) for _ in values]
        written_out = np.repeat(values, counts)
        for share in (0, 0.1, 0.5, 0.9, 0.95, 1):
            expected = np.quantile(written_out, share, method="inverted_cdf")
            assert quantile(values, share, counts) == expected


def test_a_quantile_is_a_time_that_was_measured():
    assert quantile([1.0, 9.0], 0.5, [1, 1]) == 1.0
    assert quantile([1.0, 9.0], 0.51, [1, 1]) == 9.0


def test_the_first_block_is_left_out_once_there_is_a_second():
    times = times_of((1, 60.0, 50.0))
    assert (times.step_seconds_median, times.num_steps) == (60.0, 1)
    times.add(Block(10, 5.0, 0.0))
    assert (times.step_seconds_median, times.num_steps) == (0.5, 10)
    assert times.step_seconds_p95 == 0.5
    assert times.input_wait_share == 0.0


def test_a_block_of_k_steps_counts_k_times():
    # 1 slow step of 9 s among 3 of 1 s: the middle one is a fast one.
    times = times_of((1, 60.0, 0.0), (1, 9.0, 0.0), (3, 3.0, 0.0))
    assert times.step_seconds_median == 1.0
    assert times.num_steps == 4


def test_the_95th_percentile_sees_the_slow_steps():
    times = times_of((1, 60.0, 0.0), (90, 90.0, 0.0), (10, 50.0, 0.0))
    assert times.step_seconds_median == 1.0
    assert times.step_seconds_p95 == 5.0


def test_the_rate_has_a_median_within_its_range():
    # Steps of 0.1 s, 0.2 s and 0.4 s, ten each, of 32 examples.
    times = times_of((1, 60.0, 0.0), (10, 1.0, 0.0), (10, 2.0, 0.0), (10, 4.0, 0.0))
    rate = times.examples_per_second(global_batch=32)
    assert rate == pytest.approx({"median": 160.0, "p10": 80.0, "p90": 320.0})


def test_the_share_of_waiting_is_one_of_time_not_of_blocks():
    times = times_of((1, 60.0, 60.0), (1, 1.0, 1.0), (9, 9.0, 0.0))
    assert times.input_wait_share == pytest.approx(0.1)


def test_more_waiting_than_time_counts_as_all_of_it():
    assert times_of((1, 1.0, 7.0)).input_wait_share == 1.0


@pytest.mark.parametrize(
    "block",
    [(0, 1.0, 0.0), (1, 0.0, 0.0), (1, -1.0, 0.0), (1, 1.0, -0.1), (1, float("nan"), 0.0)]
    + [(1, float("inf"), 0.0), (1, 1.0, float("nan"))],
)
def test_a_block_that_cannot_be_is_refused_and_not_counted(block):
    times = StepTimes()
    with pytest.raises(ValueError, match="no block of steps"):
        times.add(Block(*block))
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
