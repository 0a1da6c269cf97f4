"""How many cores a container may keep busy, which the cores that it sees don't tell."""

import math
from collections.abc import Iterator
from pathlib import Path


def cpu_quota(root: Path = Path("/")) -> float | None:
    """The least quota of the control groups that this process is in; None where there is none.

    Control groups of version 2 (`cpu.max`) and 1 (`cpu.cfs_quota_us`) are read as the kernel's
    Documentation/admin-guide/cgroup-v2.rst and scheduler/sched-bwc.rst describe them. A container
    may see its own group as the root of all, or the path that it has on the host.

    Args:
        root: of the file system.

    Returns:
        Cores, for example 1.5 for 150 of 100 ms.
    """
    quotas = [quota for folder in _groups(root) if (quota := _quota_of(folder)) is not None]
    return min(quotas, default=None)


def _groups(root: Path) -> Iterator[Path]:
    """The folders of the groups of this process and of those around them."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return
    mounts = root / "sys/fs/cgroup"
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Of version 2, its place in a mount of both versions, and the names of version 1.
        names = (controllers, "cpu", "cpu,cpuacct") if controllers else ("", "unified")
        inside = Path(path.lstrip("/"))
        for mount in {mounts / name for name in names}:
            for group in (inside, *inside.parents):
                if ".." not in group.parts:  # a group beside the root that is seen
                    yield mount / group


def _quota_of(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        found = float(quota) / float(period)  # "max", and -1, are no quota
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return found if math.isfinite(found) and found > 0 else None
