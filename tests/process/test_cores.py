import pytest

from tfscale.process import cores
from tfscale.process.cores import binding_complaint, inter_op_threads, own_cores


@pytest.mark.parametrize(
    ("numbers", "of_machine", "workers", "parts"),
    [
        (range(2), 2, 1, [{0, 1}]),
        (range(2), 2, 2, [{0}, {1}]),
        (range(2), 2, 5, [{0}, {1}, {0}, {1}, {0}]),
        (range(8), 8, 2, [{0, 1, 2, 3}, {4, 5, 6, 7}]),
        (range(7), 7, 3, [{0, 1}, {2, 3}, {4, 5, 6}]),
        # Bound by a scheduler, which has dealt them out already.
        ([3, 5, 7], 96, 3, [{3, 5, 7}] * 3),
    ],
)
def test_workers_of_one_machine_share_its_cores(numbers, of_machine, workers, parts):
    found = [own_cores(numbers, of_machine, workers, index) for index in range(workers)]
    assert found == parts


@pytest.mark.parametrize(
    ("number", "are_cores_free", "threads"),
    [(1, False, 2), (2, False, 2), (16, False, 16), (1, True, 5), (16, True, 20)],
)
def test_short_work_has_threads_of_its_own_only_where_the_cores_are_free(
    number, are_cores_free, threads
):
    assert inter_op_threads(number, are_cores_free=are_cores_free) == threads


@pytest.fixture
def machine(monkeypatch):
    """Sets the cores of a machine, those that this process may use, and a quota."""
    bound = []

    def set_up(of_machine, own, quota=float("inf")):
        monkeypatch.setattr(cores.os, "cpu_count", lambda: of_machine)
        monkeypatch.setattr(cores, "_cores", lambda: own)
        monkeypatch.setattr(cores, "_quota", lambda: quota)
        monkeypatch.setattr(cores, "cores_near", lambda devices: {4, 5, 6, 7} if devices else set())
        monkeypatch.setattr(cores, "bind", bound.append)
        return bound

    return set_up


def test_a_worker_with_gpus_of_its_own_keeps_to_the_cores_near_them(machine):
    bound = machine(8, range(8))
    cores.keep_near(["0000:3b:00.0"])
    assert bound == [{4, 5, 6, 7}]


@pytest.mark.parametrize(
    ("own", "quota", "devices"),
    [([4, 5], float("inf"), ["gpu"]), (range(8), 2.0, ["gpu"]), (range(8), float("inf"), [])],
)
def test_who_is_bound_already_or_has_a_quota_is_left_alone(machine, own, quota, devices):
    bound = machine(8, own, quota)
    cores.keep_near(devices)
    assert bound == []


def test_a_binding_to_one_core_is_said_with_its_remedy(machine):
    machine(64, [3])
    assert "one of 64 cores, of which 32 could be its own" in binding_complaint(2)
    assert "mpirun --bind-to none" in binding_complaint(2)
    assert binding_complaint(64) == ""
    machine(64, [3, 4])
    assert binding_complaint(2) == ""
    machine(1, [0])
    assert binding_complaint(1) == ""
