"""A node's machine: cores, memory, limits, and what travels beside the network of everybody."""

import math
import os
import platform
import resource
import socket
from collections.abc import Mapping
from pathlib import Path

import psutil

from tfscale.cluster.cluster import Cluster
from tfscale.process.cores import num_cores
from tfscale.structures import Json
from tools.doctor.findings import Finding, Reason, warn

_LEAST_MEMORY = 2 * 2**30  # in which TensorFlow starts and a small model trains
_LEAST_SHARED = 2**30  # in which NCCL and input workers of one machine have room
_UNLIMITED = -1


def facts(cluster: Cluster, environ: Mapping[str, str], root: Path = Path("/")) -> dict[str, Json]:
    """What the system says of this machine.

    Args:
        cluster: whose workers may share it.
        environ: of this process: whether a launcher has bound it.
        root: of the file system.
    """
    process = psutil.Process()
    affinity = process.cpu_affinity() if hasattr(process, "cpu_affinity") else []
    memory = psutil.virtual_memory()
    locked, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return {
        "host": socket.gethostname(),
        "boot": _text(root / "proc/sys/kernel/random/boot_id"),  # the same for one machine
        "system": f"{platform.system()} {platform.release()}",
        "cores": num_cores(),
        "cores_of_machine": cores_given(root / "sys/fs/cgroup") or os.cpu_count() or 1,
        "cores_allowed": len(affinity) or os.cpu_count() or 1,
        "workers_here": cluster.workers_here,
        "bound_by": _bound_by(environ),
        "numa_nodes": len(list((root / "sys/devices/system/node").glob("node[0-9]*"))) or 1,
        "memory_bytes": memory.total,
        "memory_free_bytes": memory.available,
        "locked_memory_bytes": _UNLIMITED if locked == resource.RLIM_INFINITY else locked,
        "shared_memory_bytes": _shared_memory(root / "dev/shm"),
        "infiniband": infiniband(root / "sys/class/infiniband"),
    }


def cores_given(folder: Path) -> int:
    """How many cores a container may run on, whatever a launcher has made of that; 0 for unknown.

    Args:
        folder: of control groups, of version 2 or 1.
    """
    text = _text(folder / "cpuset.cpus.effective") or _text(folder / "cpuset/cpuset.cpus")
    pairs = [part.partition("-")[::2] for part in text.split(",") if part]
    return sum(int(last or first) - int(first) + 1 for first, last in pairs)


def infiniband(folder: Path) -> list[dict[str, Json]]:
    """Each port with its `device`, `state` ("ACTIVE") and `gbits` a second.

    Args:
        folder: of the kernel's class of such devices.
    """
    found = []
    for port in sorted(folder.glob("*/ports/*")):
        rate = _text(port / "rate").split(" ")[0]  # "200 Gb/sec (4X HDR)"
        state = _text(port / "state").rpartition(": ")[2]  # "4: ACTIVE"
        gbits = float(rate) if rate.replace(".", "", 1).isdigit() else 0.0
        device = f"{port.parents[1].name}:{port.name}"
        found.append({"device": device, "state": state, "gbits": gbits})
    return found


def judge(found: Mapping[str, Json]) -> list[Finding]:
    """What is wrong with a node's machine.

    Args:
        found: its `facts`, and `gpus`, how many TensorFlow sees.
    """
    findings = []
    share = max(1, found["cores_of_machine"] // found["workers_here"])
    if found["bound_by"] and found["cores_allowed"] < share:
        launcher, remedy = found["bound_by"]
        cores = "one core" if found["cores_allowed"] == 1 else f"{found['cores_allowed']} cores"
        findings.append(
            warn(
                Reason.CORES,
                f"{launcher} keeps this worker to {cores} of {found['cores_of_machine']}",
                f"{share}, its share",
                f"{remedy}; input and communication would wait for a core.",
            )
        )
    if found["memory_free_bytes"] < _LEAST_MEMORY:
        findings.append(
            warn(
                Reason.MEMORY,
                f"{found['memory_free_bytes'] / 2**30:.1f} GiB of memory are free",
                f"{_LEAST_MEMORY / 2**30:.0f} GiB or more",
                "End what uses it, or ask the scheduler for more.",
            )
        )
    return findings + _limits(found)


def _limits(found: Mapping[str, Json]) -> list[Finding]:
    findings = []
    locked = found["locked_memory_bytes"]
    if found["infiniband"] and locked != _UNLIMITED:
        findings.append(
            warn(
                Reason.LOCKED_MEMORY,
                f"ulimit -l is {locked // 1024} KiB, and the node has InfiniBand",
                "unlimited: InfiniBand locks what it sends",
                "Set memlock to unlimited in /etc/security/limits.conf, or LimitMEMLOCK=infinity "
                "for the scheduler's daemon.",
            )
        )
    shared = found["shared_memory_bytes"]
    if found.get("gpus", 0) > 1 and 0 <= shared < _LEAST_SHARED:
        findings.append(
            warn(
                Reason.SHARED_MEMORY,
                f"{shared / 2**20:.0f} MiB are free in /dev/shm, and NCCL uses it between GPUs",
                "1 GiB or more",
                "Start the container with --shm-size=1g, or mount an emptyDir of medium Memory.",
            )
        )
    return findings


def _bound_by(environ: Mapping[str, str]) -> list[str]:
    """Which launcher deals out cores, and what to tell it; nothing where a person may have."""
    if "OMPI_COMM_WORLD_RANK" in environ:
        return ["mpirun", "Add --bind-to none to mpirun"]
    if "PMI_RANK" in environ:
        return ["mpiexec", "Add -bind-to none to mpiexec"]
    if "SLURM_PROCID" in environ and "SLURM_CPUS_PER_TASK" not in environ:
        return ["srun", "Give srun --cpus-per-task"]
    return []


def _shared_memory(folder: Path) -> int:
    """Bytes that are free there; -1 where there is no such folder."""
    try:
        return int(psutil.disk_usage(str(folder)).free)
    except OSError:
        return -1


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def size_text(count: float) -> str:
    """Bytes for the reader; the limit that there isn't, too."""
    if count < 0 or not math.isfinite(count):
        return "unlimited"
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
