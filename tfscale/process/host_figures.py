"""This worker's host in numbers: what the curves under `workers/` show."""

import time
import weakref
from collections.abc import Sequence

import psutil

_MEBIBYTE = 2**20
_LEAST_SECONDS = 0.5  # of which a load is the mean; measuring takes a millisecond


class HostFigures:
    """Load of this worker's process and host since the last call.

    Args:
        num_gpus: GPUs of this worker; their load is asked of NVIDIA's library, if it is there.
    """

    def __init__(self, num_gpus: int = 0) -> None:
        self._process = psutil.Process()
        self._gpus = _gpu_handles(num_gpus)
        if self._gpus:
            weakref.finalize(self, _forget_gpus)
        self._process.cpu_percent()
        self._network = psutil.net_io_counters()
        self._time = time.perf_counter()
        self._last: list[float] = []

    @property
    def names(self) -> list[str]:
        """What the numbers are, unit included."""
        names = [
            "process_cpu_percent",
            "process_memory_mib",
            "host_memory_percent",
            "network_sent_mib_per_second",
            "network_received_mib_per_second",
        ]
        for number in range(len(self._gpus)):
            names += [f"gpu_{number}_percent", f"gpu_{number}_memory_mib", f"gpu_{number}_watt"]
        return names

    def measure(self) -> list[float]:
        """One number for each name; those of the last call, if that was just now."""
        now = time.perf_counter()
        if self._last and now < self._time + _LEAST_SECONDS:
            return self._last
        network = psutil.net_io_counters()
        seconds = max(now - self._time, 1e-3)
        sent = (network.bytes_sent - self._network.bytes_sent) / _MEBIBYTE / seconds
        received = (network.bytes_recv - self._network.bytes_recv) / _MEBIBYTE / seconds
        self._time, self._network = now, network
        figures = [
            self._process.cpu_percent(),
            self._process.memory_info().rss / _MEBIBYTE,
            psutil.virtual_memory().percent,
            sent,
            received,
        ]
        self._last = figures + [figure for gpu in self._gpus for figure in _gpu_figures(gpu)]
        return self._last


def _gpu_handles(num_gpus: int) -> Sequence[object]:
    if not num_gpus:
        return []
    try:
        import pynvml

        pynvml.nvmlInit()
        return [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(num_gpus)]
    except Exception:
        return []


def _forget_gpus() -> None:
    """NVIDIA's library counts who uses it."""
    import pynvml

    pynvml.nvmlShutdown()


def _gpu_figures(handle: object) -> list[float]:
    import pynvml

    return [
        float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu),
        pynvml.nvmlDeviceGetMemoryInfo(handle).used / _MEBIBYTE,
        pynvml.nvmlDeviceGetPowerUsage(handle) / 1000,
    ]
