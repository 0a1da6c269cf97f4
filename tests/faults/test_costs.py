import pytest

from tests.faults import costs
from tests.faults.long_run import OF_CHIEF, Step, drawn

# One step a second; killed after 3.5 s; the next process resumes from step 2 at 10 s.
STEPS = [Step(1, 1.0, "a"), Step(2, 2.0, "a"), Step(3, 3.0, "a"), Step(4, 3.6, "a")]
STEPS += [Step(3, 10.0, "b"), Step(4, 11.0, "b"), Step(5, 12.0, "b"), Step(6, 13.0, "b")]


def test_a_step_takes_what_all_take_together():
    assert costs.step_seconds([Step(1, 2.0, "a"), Step(2, 3.0, "a"), Step(3, 6.0, "a")]) == 2.0


def test_what_a_fault_costs_is_time_without_new_steps():
    assert costs.lost([3.5], STEPS, 1.0) == pytest.approx([6.5])  # 9.5 s, and three new steps
    assert costs.lost([0.5, 3.5], STEPS, 1.0) == pytest.approx([0.0, 6.5])


def test_a_run_has_recovered_with_the_first_step_of_its_next_start_and_the_first_new_one():
    assert costs.recovered(3.5, STEPS) == pytest.approx((6.5, 8.5))
    assert costs.recovered(12.5, STEPS) is None


def test_what_a_save_costs_is_what_steps_take_longer_than_those_around_it():
    # Steps of 0.25 s before the save, of 0.5 s after it, and two that it touches of 0.9 s together.
    ends = [0.25 * number for number in range(40)]
    ends += [ends[-1] + 0.4, ends[-1] + 0.9]
    ends += [ends[-1] + 0.5 * number for number in range(1, 40)]
    cost = costs.excess(ends, ends[39], ends[40] + 0.1)
    assert cost == pytest.approx(0.9 - 2 * 0.375)
    assert costs.excess(ends[:42], ends[39], ends[40] + 0.1) is None


def test_the_seed_draws_the_faults():
    faults = [drawn(26, seed) for seed in (1, 1, 2)]
    assert faults[0] == faults[1] != faults[2]
    kinds = [fault.kind for fault in faults[0]]
    assert len(set(kinds)) >= 13
    assert max(map(kinds.count, kinds)) <= 2
    after = [one.step for one in faults[0] if one.kind == "hang_in_input"]
    assert min(one.step - step for step in after for one in faults[0] if one.step > step) > 32
    assert {fault.worker for fault in faults[0]} == {0, 1}
    assert all(fault.worker == 0 for fault in faults[0] if fault.kind in OF_CHIEF)
    steps = [fault.step for fault in drawn(26, 1, kinds=("sigkill",))]
    assert all(8 <= after - before <= 16 for before, after in zip(steps, steps[1:], strict=False))
