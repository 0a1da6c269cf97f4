"""When replicas are compared, and who is named; tests/faults/test_flipping.py has real ones."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest

from tests.report.boundaries import boundary_of
from tfscale.cluster.cluster import Cluster
from tfscale.errors import Kind, SharedFailure, is_retryable
from tfscale.fit.loop.events import Point
from tfscale.health.corruption import _DIGEST, Guard

ADDRESSES = ("a:1", "b:2", "c:3")


class _Case:
    """A worker among replicas of which each has a number for each of two variables."""

    def __init__(self, *replicas, devices=1, kind="CPU", sparse=0):
        self.replicas = [np.float64(one).tobytes() for one in replicas]
        self.asked = 0
        job = SimpleNamespace(
            strategy=SimpleNamespace(num_replicas_in_sync=len(replicas)),
            devices=SimpleNamespace(kind=kind, count=devices),
            cluster=Cluster(ADDRESSES[: len(replicas) // devices]),
        )
        self.distributed = SimpleNamespace(
            state=SimpleNamespace(shared={}),
            carrier=SimpleNamespace(of_all_replicas=self._of_all),
            parts=SimpleNamespace(traffic=SimpleNamespace(sparse=sparse)),
            step=0,
        )
        self.guard = Guard(job, self.distributed)
        self.guard._prints = SimpleNamespace(
            read=lambda: self.replicas[:devices], names=["kernel", "bias"]
        )

    def _of_all(self, told):
        self.asked += 1
        if len(told[0]) == 16:
            return self.replicas
        return [_DIGEST.pack(hashlib.sha256(one).digest(), 0.001) for one in self.replicas]

    def compare(self, step=6):
        self.distributed.step = step
        self.guard.compare()

    def boundary(self, seconds):
        self.distributed.step += 1
        self.guard.at_boundary(boundary_of(seconds=(seconds, seconds / 2)))
        self.guard.at_point(Point("fit", 1, 9))


def _reason(case):
    with pytest.raises(SharedFailure) as found:
        case.compare()
    assert is_retryable(found.value.code)
    step = case.distributed.step
    assert (found.value.end.kind, found.value.end.step) == (Kind.CORRUPTION, step)
    return found.value.reason


def test_replicas_that_are_alike_are_nothing_to_speak_of():
    case = _Case((1, 2), (1, 2), (1, 2))
    case.compare()
    assert (case.asked, case.guard.compared) == (1, 1)
    case.compare()  # nothing has changed since
    assert case.asked == 1


@pytest.mark.promise("copies")
def test_of_three_the_odd_one_is_named():
    case = _Case((1, 2), (1, 2), (1, 2))
    case.compare(3)
    case.replicas[2] = np.float64((1, 3)).tobytes()
    reason = _reason(case)
    assert reason.startswith("After step 6 the copies of the model differ in bias: replica 0 of ")
    assert "replica 0 of worker 2 at c:3 is unlike the others" in reason
    assert "alike at step 3, at which they were compared" in reason


def test_of_several_devices_the_replica_of_its_worker_is_named():
    case = _Case((1, 2), (1, 2), (1, 2), (9, 9), devices=2)
    reason = _reason(case)
    assert "kernel and 1 more: replica 1 of worker 1 at b:2 is unlike the others" in reason
    assert "alike at the beginning" in reason


@pytest.mark.promise("copies")
def test_of_two_both_are_named():
    assert (
        "replica 0 of worker 0 at a:1 and replica 0 of worker 1 at b:2 differ, and it can't be "
        "told which is right" in _reason(_Case((1, 2), (1, 3)))
    )


def test_not_all_of_many_are_named():
    many = _Case(*[(1, 2)] * 6, *[(float(n), 2) for n in range(2, 8)], devices=4)
    reason = _reason(many)
    assert "replica 3 of worker 0 at a:1 and 2 more and replica 2 of worker 1 at b:2, " in reason
    assert "replica 1 of worker 2 at c:3 and 2 more differ, and it can't be told" in reason


@pytest.mark.parametrize(
    "case", [_Case((1, 2)), _Case((1, 2), (1, 3), kind="GPU", sparse=1)], ids=["alone", "sparse"]
)
def test_what_need_not_be_alike_is_not_compared(case):
    case.compare()
    assert case.asked == 0


def test_between_checkpoints_comparing_takes_a_small_share_of_the_time():
    case = _Case((1, 2), (1, 2))
    case.boundary(0.01)
    assert case.asked == 1  # its cost isn't known yet
    for _ in range(100):
        case.boundary(0.01)
    # 0.001 s each are worth 0.25 s of training.
    assert case.asked == 1 + 4


def test_a_boundary_that_was_counted_is_not_counted_again():
    case = _Case((1, 2), (1, 2))
    case.boundary(0.01)
    for _ in range(1000):
        case.distributed.step += 1
        case.guard.at_point(Point("fit", 0, 9))
    assert case.asked == 1


def test_evaluation_is_not_looked_at():
    case = _Case((1, 2), (1, 2))
    case.guard.at_boundary(boundary_of())
    case.guard.at_point(Point("validation", 0, 9))
    assert case.asked == 0
