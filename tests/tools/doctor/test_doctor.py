import threading

import pytest

from tests.tools.doctor.two_nodes import examine
from tfscale.cluster.cluster import Cluster
from tfscale.errors import ConfigError, SharedFailure
from tools.doctor import doctor, node
from tools.doctor.asked import Asked
from tools.profiles.link_curve import load_link_curves

NOTHING = {"tensorflow": {"gpus": [], "kinds": [], "compared": {}}, "variables": {}}
ALONE = NOTHING | {"packages": {}, "machine": {}, "gpus": {}, "ways": {}}


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """What a node finds when it is asked nothing."""
    monkeypatch.setattr(node, "facts", lambda *args: ALONE)
    monkeypatch.setattr(doctor.TensorflowProcess, "measure", lambda *args: {"points": []})


def _examine(resolve):
    shown = []
    asked = Asked(resolve, {})
    would_fail = doctor.examine(asked, lambda found, is_all: shown.append((found, is_all)))
    ((found, is_all),) = shown
    return would_fail, found, is_all


def test_a_healthy_node_is_shown_once():
    would_fail, found, is_all = _examine(Cluster)
    assert (would_fail, found.findings, is_all) == (False, [], True)


def _refused():
    raise ConfigError("--hosts names no worker; expected at least one host:port. Type: --hosts=a:1")


def _late():
    raise SharedFailure("Worker 1 hasn't come within 20 s", 75)


@pytest.mark.parametrize(
    ("resolve", "came"),
    [(_refused, "--hosts names no worker"), (_late, "Worker 1 hasn't come within 20 s")],
    ids=["T16: what a launcher says can't be understood", "not all have come"],
)
def test_a_cluster_that_cannot_be_found_out_is_a_finding(resolve, came):
    would_fail, found, _ = _examine(resolve)
    assert would_fail
    assert [(one.reason.value, one.came) for one in found.findings] == [("cluster", came)]
    assert 0 in found.nodes, "this node is examined all the same"


def test_whatever_hangs_the_end_comes_with_the_stage_that_stood_still(monkeypatch):
    monkeypatch.setattr(doctor, "LONGEST_SECONDS", 0.2)
    never, shown = threading.Event(), threading.Event()
    seen = []

    def show(found, is_all):
        seen.append((found.stage, is_all, [one.reason.value for one in found.findings]))
        shown.set()
        never.set()

    def hang():
        never.wait(30)
        return Cluster()

    doctor.examine(Asked(hang, {}), show)
    assert seen[0] == ("cluster", False, ["time"])


def test_curves_are_written_for_whoever_plans(tmp_path):
    found = examine([0, 1])[0]
    out = tmp_path / "doctor" / "links.json"
    assert doctor.write_curves(found, str(out)).startswith(str(out))
    assert load_link_curves(out) == found.measured.curves
    assert doctor.write_curves(found, "") == ""
    (tmp_path / "file").touch()
    assert "can't be written" in doctor.write_curves(found, str(tmp_path / "file" / "links.json"))
