import pytest

from tfscale.process.cores import inter_op_threads, own_cores


@pytest.mark.parametrize(
    ("cores", "of_machine", "workers", "parts"),
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
def test_workers_of_one_machine_share_its_cores(cores, of_machine, workers, parts):
    found = [own_cores(cores, of_machine, workers, index) for index in range(workers)]
    assert found == parts


@pytest.mark.parametrize(
    ("cores", "are_cores_free", "threads"),
    [(1, False, 2), (2, False, 2), (16, False, 16), (1, True, 5), (16, True, 20)],
)
def test_short_work_has_threads_of_its_own_only_where_the_cores_are_free(
    cores, are_cores_free, threads
):
    assert inter_op_threads(cores, are_cores_free=are_cores_free) == threads
