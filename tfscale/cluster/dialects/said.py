"""What one launcher says of a process, and how its numbers are read."""

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tfscale.cluster.addresses import refusal

FIRST_PORT, _PORTS = 20000, 10000  # below those that a kernel hands out by itself
MOST_TASKS = 2**16  # more is a typing error
DEFAULT_PORT = 2222  # where a worker has an address of its own, as TensorFlow's operators use it


@dataclass(frozen=True)
class Said:
    """A process as its launcher sees it.

    Args:
        launcher: who has started it, for people.
        size: how many tasks it has started together, at least 1.
        rank: which of them this is, from 0.
        size_variable: that says how many.
        rank_variable: that says which.
        addresses: `host:port` of all, in the order of their ranks; none where nobody says.
        leader: host of rank 0, where that is known and no more.
        key: what tells this launch from others, the same for all of its tasks; "" if nothing.
    """

    launcher: str
    size: int
    rank: int
    size_variable: str
    rank_variable: str
    addresses: tuple[str, ...] = ()
    leader: str = ""
    key: str = ""

    def of_processes(self, processes: int, process: int) -> "Said":
        """One of several processes of a task, each of which is one for itself."""
        size, rank = self.size * processes, self.rank * processes + process
        return replace(self, size=size, rank=rank)


def place(environ: Mapping[str, str], size: str, rank: str) -> tuple[int, int] | None:
    """Size and rank by the names of their variables.

    Variables that are there in part, or hold no numbers that fit together, say nothing.

    Raises:
        ConfigError: there are more tasks than anybody has.
    """
    found = whole(environ.get(size, "")), whole(environ.get(rank, ""))
    if found[0] is None or found[1] is None or found[1] >= found[0]:
        return None
    if found[0] > MOST_TASKS:
        raise refusal(
            f"{size}={found[0]} says that there are so many tasks",
            f"at most {MOST_TASKS}",
            "--cluster=none to train on this machine alone",
        )
    return found[0], found[1]


def whole(text: object) -> int | None:
    """A whole number of at most nine digits as a launcher writes it; None for anything else."""
    return int(str(text)) if re.fullmatch(r"[0-9]{1,9}", str(text)) else None


def port_of(key: str) -> int:
    """A port that all tasks of a launch derive, and those of another one hardly share."""
    return FIRST_PORT + zlib.crc32(key.encode(errors="surrogateescape")) % _PORTS


def address(host: str, port: int) -> str:
    """`host:port`, with the brackets that an IPv6 address needs."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
