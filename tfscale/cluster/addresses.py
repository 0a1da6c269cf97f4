"""Addresses and ranks as people type them: checked, and refused in one line."""

import ipaddress
import re
from collections.abc import Sequence

from tfscale.cluster.machines import canonical_address
from tfscale.errors import ConfigError

HOSTS_EXAMPLE = "--hosts=node0:12345,node1:12345 --index=0"


def refusal(came: str, expected: str, example: str) -> ConfigError:
    """An error in the one form that all of them have."""
    return ConfigError(f"{came}; expected {expected}. Type, for example: {example}")


def shown(value: object) -> str:
    """A value as Python writes it, at most 80 letters of it."""
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "..."


def split_hosts(hosts: str | Sequence[str]) -> tuple[str, ...]:
    """The checked addresses of `--hosts`, a list or one text with commas."""
    parts = hosts.split(",") if isinstance(hosts, str) else hosts
    stripped = [part.strip() if isinstance(part, str) else part for part in parts]
    return checked_addresses([] if stripped == [""] else stripped, "--hosts", HOSTS_EXAMPLE)


def checked_rank(index: object, size: int, what: str, example: str) -> int:
    """The index, once it is a rank of a cluster of that size."""
    # bool is an int to Python, but true is no rank.
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < size:
        expected = f"a whole number from 0 to {size - 1}" if size > 1 else "0, the only worker's"
        raise refusal(f"{what} is {shown(index)}", expected, example)
    return index


def checked_addresses(addresses: Sequence[object], source: str, example: str) -> tuple[str, ...]:
    """Every address without blanks, once each is `host:port` and none is there twice."""
    if not addresses:
        raise refusal(f"{source} names no worker", "at least one host:port", example)
    seen: set[tuple[str, int]] = set()
    checked: list[str] = []
    for came in addresses:
        address = _without_blanks(came) if isinstance(came, str) else ""
        problem = _address_problem(address) if isinstance(came, str) else "is no text"
        if problem:
            what = f"{source} has the address {shown(came)}, which {problem}"
            raise refusal(what, "host:port, with IPv6 as [::1]:12345", example)
        if canonical_address(address) in seen:
            what = f"{source} names {address} twice"
            raise refusal(what, "a port of its own for every worker on a host", example)
        seen.add(canonical_address(address))
        checked.append(address)
    return tuple(checked)


def _without_blanks(address: str) -> str:
    """The address without blanks around its host and its port, which TensorFlow overlooks too."""
    host, colon, port = address.rpartition(":")
    return f"{host.strip()}{colon}{port.strip()}"


def _address_problem(address: str) -> str:
    """What is wrong with a `host:port`, as the end of "which ..."; empty for a good one."""
    host, colon, port = address.rpartition(":")
    if not colon:
        return "has no port"
    if host.startswith("[") and host.endswith("]"):
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            return f"has {host!r} for an IPv6 address"
    elif ":" in host:
        return f"has a colon in its host {host!r}"
    # A dot at the end keeps a resolver from trying the name within its own domains.
    elif not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\.?", host):
        return f"has the host {host!r}, which is no name and no IP address"
    # [0-9], because int() would also take signs, spaces and the digits of other scripts.
    if not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) <= 65535):
        return f"has the port {port!r}, which is not a number from 1 to 65535"
    return ""
