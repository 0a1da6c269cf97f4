"""R3: real workers of which one hangs end with its name."""

import pytest

from tests.faults import hangs

pytestmark = [pytest.mark.long, pytest.mark.promise("standstill")]


def _play(kind, folder, **how):
    outcome = hangs.play(kind, folder, step_timeout=6.0, **how)
    assert outcome.codes == [1] * len(outcome.codes), outcome
    return outcome


@pytest.mark.parametrize("kind", ["callback", "input", "lock", "leave"])
def test_workers_end_with_the_name_of_the_one_that_hangs(kind, tmp_path):
    outcome = _play(kind, tmp_path)
    assert outcome.is_named(kind), outcome.lines
    if kind != "leave":  # which TensorFlow notices before anybody has stood still
        assert sorted(outcome.stacks) == ["worker-0.stacks.txt", "worker-1.stacks.txt"]
        assert all("Thread 0x" in stacks for stacks in outcome.stacks.values())
        assert 0 <= outcome.late_seconds < 60.0


def test_a_lone_worker_ends_as_well(tmp_path):
    outcome = _play("chief", tmp_path, num_workers=1)
    assert "This worker has been in on_train_batch_end of Hanging" in outcome.lines[0]
