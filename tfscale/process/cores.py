"""The cores that this process may use, and how several workers share those of one machine."""

import os
from collections.abc import Collection

import psutil

_SPARE_THREADS = 4


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


def own_cores(cores: Collection[int], of_machine: int, workers: int, index: int) -> set[int]:
    """The cores of this process alone, where several workers compute on those of one machine.

    In every step each waits for the slowest. Where all of them wander over all cores they interrupt
    each other, and wake each other's threads on cores that are busy: a step of 1.0 ms takes 1.45.

    Args:
        cores: that this process may run on.
        of_machine: number of cores of the machine.
        workers: on this machine.
        index: of this one among them.

    Returns:
        An equal part of the cores, or one of them where there are more workers. All where there
        are fewer than the machine has: a scheduler has dealt them out already.
    """
    ordered = sorted(cores)
    if len(ordered) < of_machine:
        return set(ordered)
    if workers >= len(ordered):
        return {ordered[index % len(ordered)]}
    edges = [len(ordered) * place // workers for place in (index, index + 1)]
    return set(ordered[edges[0] : edges[1]])


def share_of_cores(workers: int, index: int) -> set[int]:
    """What `own_cores` says of this process's cores."""
    return own_cores(_cores(), os.cpu_count() or 1, workers, index)


def num_cores() -> int:
    """How many cores this process may run on."""
    return len(_cores())


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
