"""What the workers of this machine are started with, and what their flags say about the run."""

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

from tfscale.cluster.ports import free_addresses
from tfscale.config import local_path


def worker_commands(
    program: Path, worker_flags: Sequence[str], *, num_workers: int, devices: int = 0
) -> list[list[str]]:
    """The command of every worker: `program` with its place in the cluster and the flags.

    Args:
        program: path of `worker.py`.
        worker_flags: what all workers get alike.
        num_workers: one worker alone needs no address and gets none.
        devices: devices of each worker; 0 leaves the flag out.
    """
    addresses = free_addresses(num_workers) if num_workers > 1 else []
    # In front of the user's flags, because absl reads none after a `--`.
    shared = [sys.executable, str(program), *([f"--hosts={','.join(addresses)}"] * bool(addresses))]
    rest = [*([f"--devices={devices}"] * bool(devices)), *worker_flags]
    if num_workers == 1:
        return [[*shared, *rest]]
    return [[*shared, f"--index={index}", *rest] for index in range(num_workers)]


def run_dir_of(worker_flags: Sequence[str]) -> Path | None:
    """The folder of `--run_dir=X` or `--run_dir X`, the last one as in absl; None without.

    Raises:
        ConfigError: it is one that every worker would refuse.
    """
    found = ""
    for flag, following in itertools.pairwise([*worker_flags, ""]):
        name, equals, value = flag.partition("=")
        if name in ("--run_dir", "-run_dir"):
            found = value if equals else following
    return Path(local_path(found, "--run_dir")) if found else None
