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

# Flags of a worker that its launcher gives it.
_OF_LAUNCHERS = (
    *("hosts", "index", "cluster", "leader", "restarts"),
    *("processes_per_node", "process_of_node"),
)
# Flags of a worker that are no settings of a run.
_OF_WORKERS = ("dataset", "model", "dry_run", "verbose", *_OF_LAUNCHERS)


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


def supervised_commands(
    program: Path, words: Sequence[str], *, processes: int, is_alone: bool
) -> list[list[str]]:
    """The commands of the workers of a node, whose supervisor was started with these words.

    Args:
        program: path of `worker.py`.
        words: the supervisor's own, after its name, as of `going_on`.
        processes: workers of this node.
        is_alone: whether there is no other node, so that nobody knows their ports yet.
    """
    # What follows a `--` is no flag, and the last one of a name counts.
    shared = [sys.executable, str(program), *with_flags(words, "--restarts=0")]
    if processes == 1:
        return [shared]
    if not is_alone:
        return [with_flags(shared, f"--process_of_node={place}") for place in range(processes)]
    hosts = f"--hosts={','.join(free_addresses(processes))}"
    shared = with_flags(shared, "--cluster=none", "--processes_per_node=1", hosts)
    return [with_flags(shared, f"--index={index}") for index in range(processes)]


def going_on(words: Sequence[str], goes_on: bool) -> list[str]:
    """The flags of an attempt: one that resumes from a checkpoint must not overwrite it.

    Args:
        words: flags of a worker.
        goes_on: whether an earlier attempt of the same supervisor has left a checkpoint.
    """
    return with_flags(words, "--nooverwrite") if goes_on else list(words)


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


def refuse_own(worker_flags: Sequence[str], launcher: str) -> None:
    """Refuses flags that say to a worker what its launcher says: its place, and its supervisor.

    Args:
        worker_flags: what all workers get alike.
        launcher: its program, with what stands in front of `--`.

    Raises:
        ConfigError: one of them is there.
    """
    for word in worker_flags:
        name = word.lstrip("-").partition("=")[0]
        if word.startswith("-") and name in _OF_LAUNCHERS:
            raise ConfigError(
                f"{word} came behind the `--`; expected nothing there about who the workers are "
                "and who starts them again, because their launcher says that. Use for example "
                f"{launcher} --restarts=3 -- ..."
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


def with_flags(words: Sequence[str], *flags: str) -> list[str]:
    """The words and more flags, each of which counts more than one of its name that is there."""
    place = words.index("--") if "--" in words else len(words)
    return [*words[:place], *flags, *words[place:]]


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
