import pytest

from tfscale.process.topology import cores_near, side_by_side


def _machine(root, cores, nodes, devices=()):
    """cores: {number: (socket, core)}; nodes: {node: text}; devices: {address: its node}."""
    for number, (socket, core) in cores.items():
        folder = root / f"sys/devices/system/cpu/cpu{number}/topology"
        folder.mkdir(parents=True)
        (folder / "physical_package_id").write_text(f"{socket}\n")
        (folder / "core_id").write_text(f"{core}\n")
    for node, text in nodes.items():
        folder = root / f"sys/devices/system/node/node{node}"
        folder.mkdir(parents=True)
        (folder / "cpulist").write_text(f"{text}\n")
    for address, text in dict(devices).items():
        folder = root / f"sys/bus/pci/devices/{address}"
        folder.mkdir(parents=True)
        (folder / "numa_node").write_text(f"{text}\n")


def test_second_threads_stand_beside_the_first_of_their_cores(tmp_path):
    _machine(tmp_path, {number: (0, number % 4) for number in range(8)}, {0: "0-7"})
    assert side_by_side(range(8), tmp_path) == [0, 4, 1, 5, 2, 6, 3, 7]


def test_the_cores_of_a_memory_node_stand_together(tmp_path):
    cores = {number: (number % 2, number // 2) for number in range(6)}
    _machine(tmp_path, cores, {0: "0,2,4", 1: "1,3,5"})
    assert side_by_side({5, 4, 3, 2, 1, 0}, tmp_path) == [0, 2, 4, 1, 3, 5]
    assert side_by_side({3, 2}, tmp_path) == [2, 3]


def test_where_nothing_is_said_numbers_decide(tmp_path):
    assert side_by_side({2, 0, 1}, tmp_path) == [0, 1, 2]


@pytest.mark.parametrize(
    ("devices", "near"),
    [
        (["0000:3b:00.0"], {4, 5, 6}),
        (["0000:3B:00.0"], {4, 5, 6}),
        (["0000:3b:00.0", "0000:1a:00.0"], {0, 1, 4, 5, 6}),
        (["0000:99:00.0"], set()),  # of a machine with one memory node Linux says -1
        (["0000:3b:00.0", "0000:77:00.0"], set()),
        ([], set()),
    ],
)
def test_cores_near_devices_are_those_of_their_memory_nodes(tmp_path, devices, near):
    attached = {"0000:1a:00.0": "0", "0000:3b:00.0": "1", "0000:99:00.0": "-1"}
    _machine(tmp_path, {}, {0: "0-1", 1: "4,5-6"}, attached)
    assert cores_near(devices, tmp_path) == near


def test_this_machine_is_read_without_an_error():
    assert side_by_side({0}) == [0]
    assert cores_near(["no device"]) == set()
