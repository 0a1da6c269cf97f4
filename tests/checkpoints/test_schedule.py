import numpy as np

from tfscale.checkpoints import commit
from tfscale.checkpoints.retention import LOSS, losses_of, remove_old
from tfscale.checkpoints.schedule import Schedule


def test_the_first_one_is_due_at_once():
    assert Schedule().is_due(0.0)


def test_checkpoints_cost_a_hundredth_of_the_time_at_most():
    schedule, now, blocked, processor = Schedule(), 0.0, 0.3, 1.2
    spent = 0.0
    while now < 100_000:
        if schedule.is_due(now):
            spent += blocked + processor
            schedule.took(
                now, blocked_seconds=blocked, processor_seconds=processor, spare_cores=0.0
            )
        now += 1.0
    assert 0.009 < spent / now <= 0.0105


def test_cheap_ones_are_a_second_apart():
    schedule = Schedule()
    schedule.took(5.0, blocked_seconds=0.0, processor_seconds=1e-6, spare_cores=0.0)
    assert not schedule.is_due(5.9)
    assert schedule.is_due(6.0)


def test_idle_cores_write_for_nothing():
    schedule = Schedule()
    schedule.took(0.0, blocked_seconds=0.02, processor_seconds=9.0, spare_cores=1.5)
    assert not schedule.is_due(1.9)
    assert schedule.is_due(2.0)


def _left(tmp_path, steps, keep, losses):
    for step in steps:
        (tmp_path / f"step-{step:010d}").mkdir()
    (tmp_path / "of somebody else").mkdir()
    remove_old(tmp_path, keep, losses)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names.pop(0) == "of somebody else"
    return [int(name[5:]) for name in names]


def test_the_last_ones_and_the_best_one_stay(tmp_path):
    assert _left(tmp_path, range(1, 8), 2, {2: 0.5, 3: 0.1, 4: 0.3, 9: 0.0}) == [3, 6, 7]


def test_without_validation_only_the_last_ones_stay(tmp_path):
    assert _left(tmp_path, [5, 100, 20], 1, {}) == [100]


def test_a_run_that_goes_on_knows_which_one_was_best(tmp_path):
    for step, facts in ((4, {LOSS: 0.25}), (5, {}), (6, {LOSS: 0.5})):
        commit.write(tmp_path, step, {"weights.safetensors": {"x": np.ones(1)}}, facts)
    assert losses_of(tmp_path) == {4: 0.25, 6: 0.5}
