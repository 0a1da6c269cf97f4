import json

from tests.tools.doctor.two_nodes import examine
from tfscale.cluster.cluster import Cluster
from tools.doctor import report
from tools.doctor.examination import Examination
from tools.doctor.findings import Reason, fail, warn

PORT = fail(Reason.PORT, "its port is taken", "a free port", "End that process.").at(1)
CLOCK = warn(Reason.CLOCK, "its clock is off", "the same", "Start chronyd.").at(1)


def test_people_see_every_node_the_links_and_the_verdict():
    text = report.for_people(examine([0, 1])[0], "curves.json")
    lines = text.splitlines()
    assert lines[0] == "doctor"
    for words in ("worker 0 (", "worker 1 (", "network 1", "link 0 - 1", "curves.json", "meeting"):
        assert words in text
    assert lines[-1] == "All nodes are healthy."


def test_a_finding_is_a_sentence_and_what_is_fatal_comes_first():
    found = Examination(Cluster(("a:1", "b:1")), findings=[CLOCK, PORT, PORT])
    lines = report.for_people(found, "").splitlines()
    assert lines[-3:] == [
        "fail (port) worker 1: its port is taken; expected a free port. End that process.",
        "warn (clock) worker 1: its clock is off; expected the same. Start chronyd.",
        "A run would fail: one thing has to be put right first. 1 more might make it slow.",
    ]
    assert "not measured, because a run would fail" in "\n".join(lines)


def test_a_warning_lets_a_run_work():
    found = Examination(findings=[CLOCK])
    assert report.verdict(found).startswith("A run would work; one thing might make it slow")


def test_programs_read_reasons_nodes_and_curves():
    found = examine([0, 1])[0]
    found.findings += [CLOCK, PORT]
    told = json.loads(report.for_programs(found, "links.json"))
    assert [(one["reason"], one["node"], one["severity"]) for one in told["findings"]] == [
        ("port", 1, "fail"),
        ("clock", 1, "warn"),
    ]
    assert told["findings"][0]["host"] == found.nodes[1]["machine"]["host"]
    assert (told["exit_code"], told["would_fail"]) == (1, True)
    assert {row["bytes"] for row in told["links"]} == {1024, 2**20}
    assert set(told["nodes"]) == {"0", "1"}
