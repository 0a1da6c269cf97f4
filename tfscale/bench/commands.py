"""The commands of a benchmark's workers: modules of this project, on cores of their own."""

import sys
from pathlib import Path

from tfscale.process.cores import share_of_cores

ROOT = Path(__file__).resolve().parents[2]  # where Python finds the modules


def module_command(module: str, task: str) -> list[str]:
    """A command that runs a module of this project with its task, from `ROOT`.

    Args:
        module: its dotted name.
        task: the module's only argument.
    """
    return [sys.executable, "-m", module, task]


def on_own_cores(workers: int, index: int) -> list[str]:
    """A command that runs a worker which trains alone on the cores that it has as one of several.

    Without it, workers that train together would be compared with others that have more cores.

    Args:
        workers: that are measured at the same time.
        index: of this one.
    """
    cores = ",".join(str(core) for core in sorted(share_of_cores(workers, index)))
    return ["taskset", "--cpu-list", cores]
