"""What a worker of a benchmark is started with."""

import json
import sys
from dataclasses import asdict

from tfscale.process.cores import share_of_cores
from tfscale.structures import Foreign


def module_command(module: str, task: Foreign) -> list[str]:
    """A command that runs a module of `tools.bench`, with its task as JSON.

    Args:
        module: its name, without the package's.
        task: the module's only argument, a dataclass.
    """
    return [sys.executable, "-m", f"tools.bench.{module}", json.dumps(asdict(task))]


def on_own_cores(workers: int, index: int) -> list[str]:
    """A command that runs a worker which trains alone on the cores that it has as one of several.

    Without it, workers that train together would be compared with others that have more cores.

    Args:
        workers: that are measured at the same time.
        index: of this one.
    """
    cores = ",".join(str(core) for core in sorted(share_of_cores(workers, index)))
    return ["taskset", "--cpu-list", cores]
