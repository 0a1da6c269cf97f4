import copy

import pytest

from tfscale.cluster.cluster import Cluster
from tools.doctor import comparison
from tools.doctor.findings import Reason, Severity

NODE = {
    "tensorflow": {
        "gpus": [],
        "kinds": ["CPU"],
        "compared": {"tensorflow": "2.21.0", "keras": "3.15.1"},
    },
    "packages": {"python": "3.11.7", "packages": {"keras": "3.15.1", "rich": "15"}, "plugins": []},
    "machine": {"cores": 8, "infiniband": []},
    "variables": {"NCCL_DEBUG": "INFO"},
}
PAIR = Cluster(("a:1", "b:1"), 0)


def _pair(*path, value):
    other = copy.deepcopy(NODE)
    place = other
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return [(one.severity, one.came) for one in comparison.judge({0: NODE, 1: other})]


def test_nodes_that_are_alike_are_fine():
    assert comparison.judge({0: NODE, 1: copy.deepcopy(NODE)}) == []


def test_workers_that_see_one_gpu_are_told_t15():
    nodes = {rank: copy.deepcopy(NODE) for rank in (0, 2)}
    for node in nodes.values():
        node["tensorflow"]["uuids"] = ["a"]
    (found,) = comparison.judge(nodes)
    assert (found.reason, found.severity) == (Reason.GPU_SHARED, Severity.FAIL)
    assert found.came == (
        "Workers 0 and 2 see the same one GPU, which can't be dealt out to them equally"
    )
    assert comparison.judge(nodes, may_share=True) == []
    nodes[2]["tensorflow"]["uuids"] = ["b"]
    assert comparison.judge(nodes) == []


@pytest.mark.parametrize(
    ("path", "value", "severity", "came"),
    [
        (
            ("tensorflow", "compared", "keras"),
            "3.14.0",
            Severity.FAIL,
            "keras: worker 0: 3.15.1, worker 1: 3.14.0",
        ),
        (
            ("packages", "plugins"),
            ["libmetal.so"],
            Severity.WARN,
            "plug-ins of TensorFlow: worker 0: none, worker 1: libmetal.so",
        ),
        (
            ("packages", "packages", "rich"),
            "14",
            Severity.WARN,
            "version of rich: worker 0: 15, worker 1: 14",
        ),
        (("machine", "cores"), 1, Severity.WARN, "cores: worker 0: 8, worker 1: 1"),
        (
            ("machine", "infiniband"),
            [{"device": "mlx5_0:1", "state": "DOWN", "gbits": 200.0}],
            Severity.WARN,
            'ports of InfiniBand: worker 0: [], worker 1: [["DOWN", 200.0]]',
        ),
        (("variables",), {}, Severity.WARN, "NCCL_DEBUG: worker 0: INFO, worker 1: none"),
    ],
    ids=["version", "plug-in", "package", "cores", "infiniband", "T14: mpirun without -x"],
)
def test_what_differs_is_told_with_who_has_what(path, value, severity, came):
    assert _pair(*path, value=value) == [(severity, came)]


def test_another_number_of_gpus_is_the_end():
    found = _pair("tensorflow", "gpus", value=[{"name": "V100"}])
    assert (Severity.FAIL, "GPUs that TensorFlow sees: worker 0: 0, worker 1: 1") in found


def test_a_node_whose_tensorflow_says_nothing_differs_in_nothing():
    assert _pair("tensorflow", value={"problem": "it hangs"}) == []


def test_only_variables_that_matter_are_compared():
    environ = {"NCCL_DEBUG": "INFO", "HOME": "/", "CUDA_VISIBLE_DEVICES": "0", "TF_CONFIG": "{}"}
    assert comparison.variables(environ) == {"NCCL_DEBUG": "INFO"}


def test_who_has_not_come_is_named_with_the_reason_t26():
    (found,) = comparison.reachability(PAIR, {1: "no answer: a firewall"}, {0: {1: "x"}}, {})
    assert (found.node, found.reason.value) == (1, "missing")
    assert found.came == "worker 1 at b:1 has not come (no answer: a firewall)"
    assert "nc -vz b 1" in found.remedy


def test_who_comes_and_is_not_reached_is_named_with_where_it_came_from():
    (found,) = comparison.reachability(PAIR, {}, {0: {1: "no route"}}, {1: "10.0.0.2"})
    assert (found.node, found.reason.value) == (1, "unreachable")
    assert found.came == (
        "worker 1 at b:1 can't be reached (worker 0: no route; it came from 10.0.0.2)"
    )


@pytest.mark.parametrize(
    ("ahead", "uncertain", "told"),
    [(0.5, 0.0, []), (600.0, 0.1, ["600 s ahead of"]), (-600.0, 0.1, ["600 s behind"]), (8, 4, [])],
)
def test_clocks_that_are_far_apart_are_named(ahead, uncertain, told):
    found = comparison.clocks({1: (ahead, uncertain)})
    assert [f"its clock is {text} worker 0's" for text in told] == [one.came for one in found]
