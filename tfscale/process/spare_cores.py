"""How many of this process's cores have nothing to do: what a thread in the background may have."""

import time

import psutil

from tfscale.process.cores import own_quota


class SpareCores:
    """Idle cores, of those that this process may run on."""

    def __init__(self) -> None:
        self._last, self._used = _times(), _used()

    def measure(self) -> float:
        """The mean number of idle cores since the last call, at least 0."""
        idle, total = _times()
        before_idle, before_total = self._last
        self._last = idle, total
        cores = _own_cores()
        seconds = max(total - before_total, 1e-9) / len(cores)  # that have gone by
        # In a container idle cores may be others' to use: no more is spare than it leaves unused.
        (used, now), (before_used, before) = _used(), self._used
        self._used = used, now
        left = own_quota() - (used - before_used) / max(now - before, 1e-9)
        return max(0.0, min((idle - before_idle) / seconds, left))


def _own_cores() -> list[int]:
    try:
        return list(psutil.Process().cpu_affinity())
    except (AttributeError, psutil.Error):  # macOS doesn't know
        return list(range(psutil.cpu_count() or 1))


def _used() -> tuple[float, float]:
    """Processor seconds of this process, and the time."""
    return time.process_time(), time.monotonic()


def _times() -> tuple[float, float]:
    """Idle seconds, and all seconds, of these cores together since the machine started."""
    of_cores = psutil.cpu_times(percpu=True)
    own = [of_cores[core] for core in _own_cores() if core < len(of_cores)]
    idle = sum(times.idle + getattr(times, "iowait", 0.0) for times in own)
    return idle, sum(sum(times) for times in own)
