import pytest

from tfscale.errors import End, Kind
from tfscale.supervise.restart_policy import MOST_ABSENCES, Budget

KILLED, FAILED, ALONE = 137, 1, 75


def _budget(restarts=3, jitter=0.0):
    return Budget(restarts, jitter=lambda: jitter)


def _after(budget, end, step=None, *, seconds=1.0, sees_progress=True):
    end = End.of(end) if isinstance(end, int) else end
    return budget.after(end, step, seconds=seconds, sees_progress=sees_progress)


@pytest.mark.parametrize("code", [0, 2, 129, 130, 143])
def test_what_was_meant_or_can_only_end_the_same_way_is_final(code):
    assert _after(_budget(), code, step=5).pause_seconds is None


@pytest.mark.parametrize("code", [1, 134, 137, 139])
def test_a_crash_loop_ends_after_three_failures_in_a_row(code):
    budget = _budget(restarts=100)
    found = [_after(budget, code, step=40) for _ in range(4)]
    # The first committed step is progress; nothing after it is.
    assert [each.pause_seconds for each in found] == [1.0, 2.0, None, None]
    assert found[2].why == "3 failures in a row without progress"


def test_a_small_budget_ends_earlier():
    budget = _budget(restarts=1)
    found = [_after(budget, FAILED) for _ in range(2)]
    assert [each.pause_seconds for each in found] == [1.0, None]
    assert found[0].why == "restart 1 of 1 without progress"
    assert found[1].why == "--restarts=1 used up without a new checkpoint"


def test_without_restarts_the_first_failure_is_the_last():
    assert _after(_budget(restarts=0), KILLED, step=5).pause_seconds is None
    assert _after(_budget(restarts=0), ALONE).pause_seconds is None


def test_a_new_checkpoint_begins_the_count_anew():
    budget = _budget(restarts=2)
    steps = (None, None, 10, 10, 20, 20, 20)
    found = [_after(budget, KILLED, step) for step in steps]
    assert [each.pause_seconds for each in found] == [1.0, 2.0, 1.0, 2.0, 1.0, 2.0, None]


REASONS = (
    "ValueError: step 8",
    "ValueError: step 8; the last checkpoint, step 2, stays",
    "In better words: the callback raised at step 8",
)


@pytest.mark.parametrize("kind", [Kind.FAILURE, Kind.NOT_FINITE, Kind.STANDSTILL])
@pytest.mark.parametrize("reasons", [REASONS[:1] * 3, REASONS, [""] * 3])
def test_the_same_kind_at_the_same_step_is_no_progress_whatever_was_saved_or_is_said(kind, reasons):
    budget = _budget()
    ends = [End(reason, FAILED, kind, 8) for reason in reasons]
    found = [_after(budget, end, saved) for saved, end in enumerate(ends, 1)]
    assert [each.pause_seconds for each in found] == [1.0, 2.0, None]


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("step", [None, "another one each time"])
def test_another_step_or_none_leaves_it_to_the_checkpoints_whatever_is_said(reason, step):
    budget = _budget()
    for saved in range(1, 9):
        end = End(reason, FAILED, Kind.FAILURE, step and saved)
        assert _after(budget, end, saved).pause_seconds == 1.0


def test_another_kind_at_the_same_step_leaves_it_to_the_checkpoints():
    budget = _budget()
    for saved in range(1, 9):
        end = End(REASONS[0], FAILED, (Kind.FAILURE, Kind.NOT_FINITE)[saved % 2], 8)
        assert _after(budget, end, saved).pause_seconds == 1.0


def test_a_lower_step_is_no_progress():
    budget = _budget()
    found = [_after(budget, FAILED, step) for step in (30, 20, 30)]
    assert [each.pause_seconds for each in found] == [1.0, 2.0, None]


def test_waiting_in_vain_for_others_uses_up_a_number_of_its_own():
    budget = _budget(restarts=1)
    waits = [_after(budget, ALONE) for _ in range(MOST_ABSENCES - 1)]
    assert {each.pause_seconds for each in waits} == {1.0}
    assert _after(budget, FAILED).pause_seconds == 1.0
    assert _after(budget, ALONE).pause_seconds is None


def test_progress_lets_a_worker_wait_for_others_anew():
    budget = _budget()
    for _ in range(MOST_ABSENCES - 1):
        _after(budget, ALONE)
    assert _after(budget, ALONE, step=5).pause_seconds == 1.0


def test_where_checkpoints_cannot_be_seen_a_long_attempt_is_progress():
    budget = _budget()
    short, long = {"sees_progress": False}, {"sees_progress": False, "seconds": 601.0}
    found = [_after(budget, FAILED, **how) for how in (short, short, long, short, short)]
    assert [each.pause_seconds for each in found] == [1.0, 2.0, 1.0, 2.0, None]
    seen = _budget()
    found = [_after(seen, FAILED, seconds=601.0) for _ in range(3)]
    assert found[-1].pause_seconds is None


def test_a_long_wait_for_others_is_no_progress():
    budget = _budget()
    _after(budget, FAILED, sees_progress=False)
    _after(budget, ALONE, sees_progress=False, seconds=3600.0)
    assert _after(budget, FAILED, sees_progress=False).pause_seconds == 2.0


def test_pauses_differ_a_little():
    assert _after(_budget(jitter=-1.0), FAILED).pause_seconds == pytest.approx(0.9)
    assert _after(_budget(jitter=1.0), FAILED).pause_seconds == pytest.approx(1.1)
    assert 0.9 <= _after(Budget(3), FAILED).pause_seconds <= 1.1
