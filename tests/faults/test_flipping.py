"""R15: a bit that flips in one replica is found at the next point, and the replica is named."""

import json
import re
import sys

import pytest

from tests.jobs.workers import start_all

pytestmark = [pytest.mark.long, pytest.mark.promise("copies")]

SECONDS = 240
THREE = ("weights-3-1", "optimizer-3-2", "counter-3-1", "nothing-3-0")


def _found(folder, *names):
    command = [sys.executable, "-m", "tests.faults.flipping", str(folder), *names]
    (ended,) = start_all([command], deadline_seconds=SECONDS, is_warm=True)
    assert ended.code == 0, ended.err
    return json.loads((folder / "found.json").read_text())


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return _found(tmp_path_factory.mktemp("three"), *THREE)


@pytest.mark.parametrize("name", THREE[:-1])
def test_of_three_replicas_the_odd_one_is_named(found, name):
    replica = name.rpartition("-")[2]
    assert found[name]["code"] == 1
    reason = found[name]["reason"]
    assert f"replica {replica} of worker 0 is unlike the others" in reason
    assert re.search("After step [56] the copies of the model differ in ", reason)
    # None is saved of what isn't sound; those before stay.
    assert found[name]["steps"] == [3]


def test_nothing_is_found_where_nothing_has_changed(found):
    assert found["nothing-3-0"] == {"code": 0, "reason": "", "steps": [9, 12]}


def test_of_two_nobody_can_tell(tmp_path):
    (one,) = _found(tmp_path, "weights-2-1").values()
    assert (
        "replica 0 of worker 0 and replica 1 of worker 0 differ, and it can't be told which is "
        "right" in one["reason"]
    )
    assert one["steps"] == [3]
