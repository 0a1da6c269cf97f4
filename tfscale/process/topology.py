"""Which cores of this machine are near each other, and near a device, as Linux says below /sys."""

import itertools
from collections.abc import Collection, Iterable
from pathlib import Path


def side_by_side(cores: Iterable[int], root: Path = Path("/")) -> list[int]:
    """Cores in an order that can be cut into parts: by memory node, then by socket and core.

    Linux often numbers the second threads of all cores behind the first ones, or the cores of two
    sockets in turns: equal parts in the order of the numbers would share every core, and each its
    memory with the other socket.

    Args:
        cores: by their numbers.
        root: of the file system.
    """
    nodes = {core: node for node, theirs in _nodes(root).items() for core in theirs}

    def place(core: int) -> tuple[int, int, int, int]:
        folder = root / f"sys/devices/system/cpu/cpu{core}/topology"
        socket, physical = (_number(folder / f) for f in ("physical_package_id", "core_id"))
        return nodes.get(core, 0), socket, physical, core

    return sorted(cores, key=place)


def cores_near(devices: Collection[str], root: Path = Path("/")) -> set[int]:
    """The cores of the memory nodes that some devices are attached to; none where nobody knows.

    Args:
        devices: their PCI addresses, such as "0000:3b:00.0".
        root: of the file system.
    """
    nodes = _nodes(root)
    folders = [root / f"sys/bus/pci/devices/{device.lower()}" for device in devices]
    near = [nodes.get(_number(folder / "numa_node", -1), []) for folder in folders]
    return set(itertools.chain.from_iterable(near)) if near and all(near) else set()


def _nodes(root: Path) -> dict[int, list[int]]:
    """The cores of each memory node."""
    found = {}
    for folder in (root / "sys/devices/system/node").glob("node[0-9]*"):
        try:
            text = (folder / "cpulist").read_text()
            ranges = [part.split("-") for part in text.strip().split(",") if part]
            cores = [range(int(ends[0]), int(ends[-1]) + 1) for ends in ranges]
        except (OSError, ValueError):
            continue
        found[int(folder.name.removeprefix("node"))] = list(itertools.chain.from_iterable(cores))
    return found


def _number(path: Path, unknown: int = 0) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return unknown
