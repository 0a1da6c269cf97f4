"""What the workers of this machine are started with, and what their flags say about the run."""

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

from tfscale.cluster.ports import free_addresses
from tfscale.errors import ConfigError
from tfscale.files.run_lock import require_free
from tfscale.settings import SETTINGS
from tfscale.user_paths import local_path

# Flags of a worker that are no settings of a run.
_OF_WORKERS = ("dataset", "model", "hosts", "index", "cluster", "leader", "dry_run", "verbose")


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
    # What has started the launcher knows nothing of these workers.
    shared = [sys.executable, str(program), "--cluster=none"]
    shared += [f"--hosts={','.join(addresses)}"] * bool(addresses)
    rest = [*([f"--devices={devices}"] * bool(devices)), *worker_flags]
    if num_workers == 1:
        return [[*shared, *rest]]
    return [[*shared, f"--index={index}", *rest] for index in range(num_workers)]


def supervised_command(program: Path, words: Sequence[str], *, goes_on: bool) -> list[str]:
    """The command of a worker whose supervisor was started with these words.

    Args:
        program: path of `worker.py`.
        words: the supervisor's own, after its name.
        goes_on: as of `going_on`.
    """
    # What follows a `--` is no flag, and the last one of a name counts.
    return [sys.executable, str(program), *with_flag(going_on(words, goes_on), "--restarts=0")]


def going_on(words: Sequence[str], goes_on: bool) -> list[str]:
    """The flags of an attempt: one that resumes from a checkpoint must not overwrite it.

    Args:
        words: flags of a worker.
        goes_on: whether an earlier attempt of the same supervisor has left a checkpoint.
    """
    return with_flag(words, "--nooverwrite") if goes_on else list(words)


def refuse_misplaced(flag: str, launcher: str = "launch/local.py --workers=2") -> None:
    """Refuses a flag of the workers that stands before the `--`, or without one.

    Args:
        flag: one that the launcher hasn't got, without dashes.
        launcher: how it is started, for example.

    Raises:
        ConfigError: the workers have it.
    """
    if {flag, flag.removeprefix("no")} & {*_OF_WORKERS, *SETTINGS}:
        raise ConfigError(
            f"--{flag} is a flag of the workers; expected it behind --. Write for example "
            f"{launcher} -- --dataset=datasets/digits.py ..."
        )


def refuse_restarts(worker_flags: Sequence[str], launcher: str = "launch/local.py") -> None:
    """Refuses the flag where each worker would have a supervisor of its own below the launcher.

    Args:
        worker_flags: what all workers get alike.
        launcher: its program.

    Raises:
        ConfigError: it is there.
    """
    for word in worker_flags:
        if word.lstrip("-").partition("=")[0] == "restarts" and word.startswith("-"):
            raise ConfigError(
                f"{word} came behind the `--`; expected it in front, because all workers of a "
                f"launcher are started again together. Use {launcher} --restarts=3 -- ..."
            )


def require_free_folder(run_dir: Path | None, worker_flags: Sequence[str]) -> None:
    """Refuses a run directory that a run has, before a chief is started that would refuse it.

    Args:
        run_dir: None without one.
        worker_flags: a rehearsal needs no folder.

    Raises:
        ConfigError: another process has it.
    """
    is_rehearsal = any(word.lstrip("-").partition("=")[0] == "dry_run" for word in worker_flags)
    if run_dir is not None and not is_rehearsal:
        require_free(run_dir)


def with_flag(words: Sequence[str], flag: str) -> list[str]:
    """The words and one more flag, which counts more than one of its name that is there."""
    place = words.index("--") if "--" in words else len(words)
    return [*words[:place], flag, *words[place:]]


def run_dir_of(worker_flags: Sequence[str]) -> Path | None:
    """The folder of `--run_dir=X` or `--run_dir X`, the last one as in absl; None without.

    Raises:
        ConfigError: it is one that every worker would refuse.
    """
    found = value_of(worker_flags, "run_dir")
    return Path(local_path(found, "--run_dir")) if found else None


def value_of(worker_flags: Sequence[str], flag: str) -> str:
    """What a worker's flag is given, the last one as in absl; empty without."""
    found = ""
    for word, following in itertools.pairwise([*worker_flags, ""]):
        name, equals, value = word.partition("=")
        if name in (f"--{flag}", f"-{flag}"):
            found = value if equals else following
    return found
