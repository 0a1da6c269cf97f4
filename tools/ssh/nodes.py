"""The machines of a launch: what ssh calls them, and where the workers on them listen."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tfscale.cluster.addresses import checked_addresses, refusal, shown
from tfscale.cluster.dialects.said import address

EXAMPLE = "--hosts=node0,node1"


@dataclass(frozen=True)
class Node:
    """One machine.

    Args:
        target: as the OpenSSH client takes it, `host` or `user@host`.
        addresses: `host:port` of each worker on it.
    """

    target: str
    addresses: tuple[str, ...]


def nodes_of(
    hosts: Sequence[str], *, reached_at: Sequence[str] = (), port: int, processes_per_node: int
) -> list[Node]:
    """The nodes that `--hosts` names, in its order.

    Args:
        hosts: `host`, `host:port`, `user@host`, `::1` or `[::1]:port`; a name may be one of ssh's
            own configuration.
        reached_at: where workers reach each other, a `host` or `host:port` for each node; the
            names of `hosts` if there are none.
        port: of the first worker of a node that doesn't say its own; the next ones follow it.
        processes_per_node: workers of each node.

    Raises:
        ConfigError: a name that is none, or an address that two workers would have.
    """
    if reached_at and len(reached_at) != len(hosts):
        came = f"--addresses names {len(reached_at)} and --hosts {len(hosts)}"
        raise refusal(came, "one address for each host", f"{EXAMPLE} --addresses=10.0.0.1,10.0.0.2")
    nodes = []
    for place, came in enumerate(hosts):
        user, at, rest = came.strip().rpartition("@")
        if at and not re.fullmatch(r"[\w.][\w.@+-]*", user, re.ASCII):
            raise refusal(f"--hosts has the user {shown(user)}", "user@host", EXAMPLE)
        host, first = _split(rest, port)
        reached, first = _split(reached_at[place], first) if reached_at else (host, first)
        ports = range(first, first + processes_per_node)
        nodes.append(Node(user + at + host, tuple(address(reached, one) for one in ports)))
        checked_addresses([address(host, first)], "--hosts", EXAMPLE)
    source = "--addresses" if reached_at else "--hosts"
    checked_addresses([one for node in nodes for one in node.addresses], source, EXAMPLE)
    return nodes


def _split(text: str, port: int) -> tuple[str, int]:
    """Host without brackets, and port."""
    if found := re.fullmatch(r"\[([^\[\]]*)\](?::(.*))?", text):
        host, own = found[1], found[2]
    elif text.count(":") == 1:
        host, _, own = text.partition(":")
    else:
        host, own = text, None
    if own is not None and not re.fullmatch(r"[0-9]{1,5}", own):
        raise refusal(f"{shown(text)} has the port {shown(own)}", "host or host:port", EXAMPLE)
    return host, port if own is None else int(own)
