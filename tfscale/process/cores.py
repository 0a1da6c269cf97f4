"""The cores that this process may use, and how several workers share those of one machine."""

import functools
import math
import os
from collections.abc import Collection, Sequence

import psutil

from tfscale.process.cpu_quota import cpu_quota
from tfscale.process.topology import cores_near, side_by_side

_SPARE_THREADS = 4
_sharing: list[int] = []  # how many workers share a container's quota, once it is known


def inter_op_threads(cores: int, *, are_cores_free: bool) -> int:
    """How many operations may run at the same time.

    Beside a GPU, short work that others wait for (a bucket to send, a kernel to launch) must not
    queue behind long work, so there are more threads than cores. Where the cores compute, more
    threads only interrupt each other: two workers' step of 1.5 ms then takes 1.7.

    Args:
        cores: that this process may run on.
        are_cores_free: whether something else than they computes.
    """
    return cores + _SPARE_THREADS if are_cores_free else max(2, cores)


def own_cores(cores: Sequence[int], of_machine: int, workers: int, index: int) -> set[int]:
    """The cores of this process alone, where several workers compute on those of one machine.

    In every step each waits for the slowest. Where all of them wander over all cores they interrupt
    each other, and wake each other's threads on cores that are busy: a step of 1.0 ms takes 1.45.

    Args:
        cores: that this process may run on, those that are near each other side by side.
        of_machine: number of cores of the machine.
        workers: on this machine.
        index: of this one among them.

    Returns:
        An equal part of the cores, or one of them where there are more workers. All where there
        are fewer than the machine has: a scheduler has dealt them out already.
    """
    if len(cores) < of_machine:
        return set(cores)
    if workers >= len(cores):
        return {cores[index % len(cores)]}
    edges = [len(cores) * place // workers for place in (index, index + 1)]
    return set(cores[edges[0] : edges[1]])


def share_of_cores(workers: int, index: int) -> set[int]:
    """What `own_cores` says of this process's cores, which from now on has its part of a quota.

    All of them in a container that may keep only some busy: others on that machine see the same
    cores, and whoever bound itself to the first few would meet them there.
    """
    _sharing[:] = [workers]
    cores = _cores()
    if _quota() < len(cores):
        return set(cores)
    return own_cores(side_by_side(cores), os.cpu_count() or 1, workers, index)


def keep_near(devices: Collection[str]) -> None:
    """Binds this process to the cores near its devices, unless somebody has bound it already.

    Its memory is then of those nodes too: Linux gives a thread what is nearest to it.

    Args:
        devices: their PCI addresses.
    """
    cores = _cores()
    if len(cores) == os.cpu_count() and _quota() >= len(cores):
        if near := cores_near(devices) & set(cores):
            bind(near)


def binding_complaint(workers: int) -> str:
    """What to say of a launcher that keeps this process to one core of many; "" for nothing.

    Args:
        workers: of this job on this machine.
    """
    of_machine = os.cpu_count() or 1
    if len(_cores()) > 1 or of_machine // workers < 2:
        return ""
    part = of_machine // workers
    return (
        f"This worker is bound to one of {of_machine} cores, of which {part} could be its own: "
        "reading and preparing data will be slow. mpirun binds each of two processes to a core: "
        f"start it with `mpirun --bind-to none`; srun gives what --cpus-per-task={part} says."
    )


def num_cores() -> int:
    """How many cores this process may keep busy: those that it may run on, or its quota's part."""
    return limited(len(_cores()), own_quota())


def own_quota() -> float:
    """Cores that a container lets this process keep busy, its part of them; infinite for no limit.

    It is shared by the workers of one machine, once `share_of_cores` knows of them.
    """
    return _quota() / max([1, *_sharing])


def limited(cores: int, quota: float) -> int:
    """How many of some cores a quota, in cores, keeps busy: at least 1, a part of one as well."""
    return cores if quota >= cores else max(1, math.ceil(quota))


def bind(cores: Collection[int]) -> None:
    """Keeps the main thread, and those that it makes from now on, to some cores."""
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):
        process.cpu_affinity(sorted(cores))


def _cores() -> Collection[int]:
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):  # macOS has none
        found: list[int] = process.cpu_affinity()
        return found
    return range(os.cpu_count() or 1)


@functools.cache
def _quota() -> float:
    quota = cpu_quota()
    return math.inf if quota is None else quota
