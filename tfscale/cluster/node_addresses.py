"""Names of Slurm's nodes that no resolver knows: Slurm itself says where they are."""

import re
import socket
import subprocess
from collections.abc import Sequence

from tfscale.cluster.dialects.said import address
from tfscale.cluster.machines import split_address

_SECONDS = 10.0  # for a controller that may be busy


def reachable(addresses: Sequence[str]) -> tuple[str, ...]:
    """The same addresses, with a node's own in place of a name that doesn't resolve.

    Two nodes of one address, as where a machine stands for several, get ports of their own.

    Args:
        addresses: `NODE:PORT`, in the order of their ranks.
    """
    hosts = [split_address(one)[0] for one in addresses]
    unknown = sorted({host for host in hosts if not _resolves(host)})
    if not unknown:
        return tuple(addresses)
    known = _told_by_slurm(unknown)
    first = min(split_address(one)[1] for one in addresses)
    used: dict[str, int] = {}
    found = []
    for host in hosts:
        where = known.get(host, host)
        used[where] = used.get(where, -1) + 1
        found.append(address(where, first + used[where]))
    return tuple(found)


def _resolves(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True


def _told_by_slurm(nodes: Sequence[str]) -> dict[str, str]:
    """NodeAddr of nodes; nothing of those that Slurm doesn't tell of."""
    command = ["scontrol", "show", "node", "--oneliner", ",".join(nodes)]
    try:
        text = subprocess.run(  # noqa: S603 - names that Slurm has given
            command, capture_output=True, text=True, timeout=_SECONDS, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    pairs = re.findall(r"^NodeName=(\S+).*?\bNodeAddr=(\S+)", text, re.MULTILINE)
    return {name: where for name, where in pairs if where != name}
