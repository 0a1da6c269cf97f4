import pytest

from tfscale.cluster import role
from tfscale.cluster.cluster import Cluster


@pytest.fixture(autouse=True)
def _before_any_run(monkeypatch):
    monkeypatch.setattr(role, "_of_last_run", [Cluster()])


def test_a_process_that_takes_part_in_no_run_is_its_own_chief():
    assert role.is_chief()


@pytest.mark.parametrize(("index", "is_chief"), [(0, True), (1, False)])
def test_worker_0_of_the_run_is_the_chief(index, is_chief):
    role.take_part(Cluster.from_hosts("a:1,b:1", index))
    assert role.is_chief() is is_chief
