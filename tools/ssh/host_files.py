"""Lists of hosts in files: those that people keep, and those of PBS, LSF and Grid Engine.

These schedulers start a job's script on its first node alone, and say the others in a file or a
variable, once for each slot. A node is taken once, whatever its slots: a worker uses all of it. On
systems that start jobs with jsrun the first host of LSF is a batch node, which takes no part there.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from tfscale.errors import ConfigError

SCHEDULERS = ("pbs", "lsf", "sge")
_FILES = {"pbs": "PBS_NODEFILE", "lsf": "LSB_DJOB_HOSTFILE", "sge": "PE_HOSTFILE"}
_NEXT = {"pbs": "qsub", "lsf": "bsub", "sge": "qsub -pe"}


def hosts_from(scheduler: str, environ: Mapping[str, str]) -> list[str]:
    """The nodes of the job in which this runs, each once, in the scheduler's order.

    Args:
        scheduler: of `SCHEDULERS`.
        environ: of the job.

    Raises:
        ConfigError: there is no job, or what it says is no list of hosts.
    """
    variable = _FILES[scheduler]
    if path := environ.get(variable):
        return hosts_in(Path(path), variable)
    if scheduler == "lsf":
        if text := environ.get("LSB_MCPU_HOSTS"):
            return _once(_of_pairs(text), "LSB_MCPU_HOSTS")
        if text := environ.get("LSB_HOSTS"):
            return _once(text.split(), "LSB_HOSTS")
    raise ConfigError(
        f"--hosts_from={scheduler}, but {variable} isn't set; expected to be started in a job of "
        f"it. Start the launcher in the script that {_NEXT[scheduler]} gets, or name the nodes: "
        "--hosts=node0,node1"
    )


def hosts_in(path: Path, source: str) -> list[str]:
    """The hosts of a file, each once: a line a host, and behind it what it has (`slots=2`, `4`).

    Args:
        path: of a file in the manner of Open MPI, of PBS, or of Grid Engine.
        source: the flag or variable that named it.

    Raises:
        ConfigError: it can't be read, or a line is something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{source}={path} can't be read ({error}); expected a file with a host in each line"
        ) from error
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        # Grid Engine's lines have a queue and processors behind the slots.
        is_fine = len(words) == 4 or all(re.fullmatch(r"\w+=\S+|[0-9]+", one) for one in words[1:])
        if not is_fine:
            raise ConfigError(
                f"{source}={path} has {line.strip()!r} in line {number}; expected a host, and "
                "behind it nothing but slots, for example: node0 slots=2"
            )
        found += words[:1]
    return _once(found, f"{source}={path}")


def _of_pairs(text: str) -> list[str]:
    """The hosts of `a 4 b 4`."""
    words = text.split()
    if len(words) % 2 or not all(re.fullmatch(r"[0-9]+", word) for word in words[1::2]):
        raise ConfigError(f"LSB_MCPU_HOSTS is {text!r}; expected hosts with slots, like: a 4 b 4")
    return words[::2]


def _once(hosts: list[str], source: str) -> list[str]:
    if not hosts:
        raise ConfigError(f"{source} names no host; expected at least one")
    return list(dict.fromkeys(hosts))
