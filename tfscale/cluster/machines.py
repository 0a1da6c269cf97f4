"""Which addresses mean one machine: names in any case, every way to write "here"."""

import functools
import ipaddress
import socket

import psutil

_LOOPBACK = "localhost"
_LOOPBACK_NAMES = (_LOOPBACK, "localhost.localdomain", "ip6-localhost", "ip6-loopback")


def split_address(address: str) -> tuple[str, int]:
    """Host, as it came, and port of a checked `host:port`."""
    host, _, port = address.rpartition(":")
    return host, int(port)


def canonical_host(host: str) -> str:
    """One spelling for all that mean the same host on every machine; nobody is asked for a name.

    Args:
        host: a name or an IP address, IPv6 with or without its brackets.
    """
    name = host.strip("[]").lower().rstrip(".")
    if name in _LOOPBACK_NAMES or name.endswith(f".{_LOOPBACK}"):
        return _LOOPBACK
    try:
        number: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(name)
    except ValueError:
        return name
    if isinstance(number, ipaddress.IPv6Address) and number.ipv4_mapped:
        number = number.ipv4_mapped
    # 0.0.0.0 is where a server listens; who connects to it reaches the own machine.
    return _LOOPBACK if number.is_loopback or number.is_unspecified else str(number)


def misnamed(host: str, number: str) -> str:
    """What to say of a name that leads to this machine itself; "" where it doesn't, or says so.

    An installer often writes the machine's own name beside 127.0.1.1, and a copied `/etc/hosts`
    brings that to another machine, which then looks for the first one at its own.

    Args:
        host: as it came.
        number: that it led to.
    """
    leads_here = canonical_host(number.partition("%")[0]) == _LOOPBACK
    if not leads_here or canonical_host(host) == _LOOPBACK:
        return ""
    return f"its name means {number} on this machine, see /etc/hosts"


def canonical_address(address: str) -> tuple[str, int]:
    """The same for every spelling of one `host:port`."""
    host, port = split_address(address)
    return canonical_host(host), port


def same_machine(hosts: list[str], own: str) -> list[bool]:
    """Whether each of the hosts is the machine of the own one, which is where this is asked."""
    here = {canonical_host(own)}
    if here & own_hosts():
        here |= own_hosts()
    return [canonical_host(host) in here for host in hosts]


@functools.cache
def own_hosts() -> frozenset[str]:
    """This machine's own names and numbers, in their canonical spelling."""
    name = socket.gethostname()
    numbers = [number.address for card in psutil.net_if_addrs().values() for number in card]
    return frozenset(canonical_host(host) for host in (name, name.partition(".")[0], *numbers))
