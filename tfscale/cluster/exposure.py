"""Who can reach a worker's port: TensorFlow asks nobody who they are and runs what it is sent."""

import ipaddress
import socket

import psutil

from tfscale.cluster.cluster import Cluster
from tfscale.cluster.machines import split_address
from tfscale.errors import ConfigError
from tfscale.process.patience import do_within

_LOOKUP_SECONDS = 2.0
_MOST_SHOWN = 4


def require_private(cluster: Cluster, *, is_public_allowed: bool) -> None:
    """Refuses a worker whose own address the whole world can reach.

    Private, loopback and link-local addresses are fine, and a name that nobody knows yet.

    Raises:
        ConfigError: this worker's address is a public one, and that wasn't allowed.
    """
    if cluster.num_workers == 1 or is_public_allowed:
        return
    address = cluster.addresses[cluster.index]
    public = [number for number in _numbers(split_address(address)[0]) if is_public(number)]
    if public:
        known = "" if public[0] in address else f" ({public[0]})"
        raise ConfigError(
            f"Worker {cluster.index} has the public address {address}{known}, where anybody may "
            "reach TensorFlow, which runs what it is sent; expected an address of a private "
            "network. Use one in --hosts, or add --allow_public_network if a firewall lets only "
            "the workers in."
        )


def is_public(number: str) -> bool:
    """Whether an IP address is one that the whole world can reach, as far as it tells."""
    address = ipaddress.ip_address(number.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped.is_global
    return address.is_global


def described(cluster: Cluster) -> str:
    """Which port of this worker is open to whom, for the reader.

    "" for a single worker, and for workers of one machine that no public address reaches.
    """
    if cluster.num_workers == 1:
        return ""
    _, port = split_address(cluster.addresses[cluster.index])
    numbers = _own_numbers()
    public = [number for number in numbers if is_public(number)]
    if cluster.workers_here == cluster.num_workers and not public:
        return ""
    shown = ", ".join(numbers[:_MOST_SHOWN]) + (", ..." if len(numbers) > _MOST_SHOWN else "")
    warning = f" {public[0]} is public!" if public else ""
    return (
        f"Port {port} is open on all network interfaces of this machine ({shown}), to whoever "
        f"reaches it, without authentication: keep it inside a trusted network.{warning}"
    )


def _own_numbers() -> list[str]:
    """The IP addresses of this machine's network cards; public ones first, loopback last."""
    cards = (number for card in psutil.net_if_addrs().values() for number in card)
    families = (socket.AF_INET, socket.AF_INET6)
    numbers = {number.address.partition("%")[0] for number in cards if number.family in families}
    addresses = sorted(
        map(ipaddress.ip_address, numbers),
        key=lambda each: (not is_public(str(each)), each.is_loopback, each.version, int(each)),
    )
    return [str(address) for address in addresses]


def _numbers(host: str) -> list[str]:
    """Where a host's name leads; nowhere if nobody knows it, or says so in time."""
    found: list[str] = []

    def look() -> None:
        try:
            places = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        found.extend(str(place[4][0]) for place in places)

    do_within(_LOOKUP_SECONDS, look)
    return list(found)
