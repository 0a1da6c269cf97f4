"""The ways to the other workers: names, addresses, interfaces and what stands in between."""

import contextlib
import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence, Set
from functools import partial
from pathlib import Path

import psutil

from tfscale.cluster.cluster import Cluster
from tfscale.cluster.machines import canonical_host, same_machine, split_address
from tfscale.structures import Json
from tools.doctor.findings import Finding, Reason, fail, warn
from tools.doctor.time_limits import all_within

_LOOKUP_SECONDS = 3.0
_LOOPBACK = "localhost"
# Bridges of containers and virtual machines of one machine, which lead to no other one.
_INSIDE = re.compile(r"docker|br-|virbr|cni|podman|lxc|veth")
_PROXIES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")


def facts(cluster: Cluster, environ: Mapping[str, str]) -> dict[str, Json]:
    """`interfaces` of this machine, `peers` (a way to each worker, itself too), and settings."""
    names = [split_address(address)[0].strip("[]") for address in cluster.addresses]
    nowhere: list[str] = []
    found = all_within(_LOOKUP_SECONDS, [partial(_numbers, name) for name in names], nowhere)
    return {
        "interfaces": interfaces(),
        "peers": [_way_to(*each) for each in zip(names, found, strict=True)],
        "proxies": proxies(cluster, environ),
        "nccl_interface_setting": environ.get("NCCL_SOCKET_IFNAME", ""),
    }


def interfaces(root: Path = Path("/")) -> dict[str, Json]:
    """Of each card `addresses`, `is_up`, `mtu`, and `mbits` a second, 0 where it doesn't say.

    A virtual one has no speed of its own: what the kernel says of a veth is invented.
    """
    stats = psutil.net_if_stats()
    found = {}
    for name, addresses in psutil.net_if_addrs().items():
        numbers = [
            one.address.partition("%")[0]
            for one in addresses
            if one.family in (socket.AF_INET, socket.AF_INET6)
        ]
        is_real = (root / "sys/class/net" / name / "device").exists()
        stat = stats.get(name)
        found[name] = {
            "addresses": numbers,
            "is_up": bool(stat and stat.isup),
            "mtu": stat.mtu if stat else 0,
            "mbits": stat.speed if stat and is_real and 0 < stat.speed < 2**31 else 0,
        }
    return found


def proxies(cluster: Cluster, environ: Mapping[str, str]) -> list[str]:
    """The variables, `NAME=VALUE` without a password, that send talk between workers elsewhere."""
    spared = [
        host.strip()
        for name in ("no_proxy", "NO_PROXY")
        for host in environ.get(name, "").split(",")
        if host.strip()
    ]
    hosts = [split_address(address)[0].strip("[]") for address in cluster.addresses]
    if "*" in spared or (hosts and all(_is_spared(host, spared) for host in hosts)):
        return []
    return [
        f"{name}={re.sub(r'//[^/@]*@', '//...@', environ[name])}"
        for lower in _PROXIES
        for name in (lower, lower.upper())
        if environ.get(name)
    ]


def _is_spared(host: str, spared: Sequence[str]) -> bool:
    """Whether a list as of no_proxy has a host, by its name, its domain or its network."""
    for entry in spared:
        if host == entry or host.endswith(f".{entry.lstrip('.')}"):
            return True
        with contextlib.suppress(ValueError):
            if ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False):
                return True
    return False


def _way_to(name: str, numbers: list[str]) -> dict[str, Json]:
    """Where a name leads, and from which of the own addresses."""
    source = _source(numbers[0]) if numbers else ""
    cards = psutil.net_if_addrs().items()
    names = [card for card, ones in cards if source and source in [one.address for one in ones]]
    return {
        "host": name,
        "numbers": numbers,
        "source": source,
        "interface": names[0] if names else "",
    }


def _numbers(name: str) -> list[str]:
    try:
        places = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except UnicodeError:
        return []
    return list(dict.fromkeys(str(place[4][0]).partition("%")[0] for place in places))


def _source(number: str) -> str:
    """The own address from which the system would send there; "" where it knows no way."""
    family = socket.AF_INET6 if ":" in number else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as made:
        made.connect((number, 9))  # nothing is sent
        return str(made.getsockname()[0])
    return ""


def judge(found: Mapping[str, Json], cluster: Cluster, *, has_gpu: bool = False) -> list[Finding]:
    """What is wrong with the ways of a node.

    Args:
        found: its `facts`.
        cluster: as the node sees it.
        has_gpu: whether NCCL carries gradients, which chooses a card for itself.
    """
    if cluster.num_workers == 1:
        return []
    findings = []
    hosts = [split_address(address)[0] for address in cluster.addresses]
    are_here = same_machine(hosts, hosts[cluster.index])
    for rank, way in enumerate(found["peers"]):
        is_here = are_here[rank] or way["host"] == hosts[cluster.index].strip("[]")
        problem = _of_name(cluster.named(rank), way, is_own=rank == cluster.index, is_here=is_here)
        findings += problem or ([] if is_here else _of_interface(cluster.named(rank), way))
    if found["proxies"]:
        findings.append(_of_proxies(found["proxies"], hosts))
    if has_gpu:
        cards = {
            way["interface"]
            for way, is_here in zip(found["peers"], are_here, strict=True)
            if not is_here
        }
        findings += _of_choice(found, cards - {"", "lo"})
    return findings + _of_own_address(found, cluster.index) + _of_setting(found)


def _of_name(worker: str, way: Mapping[str, Json], *, is_own: bool, is_here: bool) -> list[Finding]:
    host, numbers = way["host"], way["numbers"]
    if not numbers:
        return [
            fail(
                Reason.NAME,
                f"the host name {host} of {worker} does not resolve here",
                "an address",
                f"Use an address in --hosts, or add {host} to /etc/hosts or the name server.",
            )
        ]
    loops = [number for number in numbers if canonical_host(number) == _LOOPBACK]
    if not loops or canonical_host(host) == _LOOPBACK or (is_here and not is_own):
        return []
    what = "its own host name" if is_own else f"the host name of {worker},"
    return [
        (warn if is_own or is_here else fail)(
            Reason.LOOPBACK,
            f"{what} {host} resolves to {loops[0]}, this machine's loopback",
            "the address by which the others reach it",
            f"Use the address in --hosts in place of {host}, or take {host} out of the line of "
            f"{loops[0]} in /etc/hosts.",
        )
    ]


def _of_interface(worker: str, way: Mapping[str, Json]) -> list[Finding]:
    if not _INSIDE.match(way["interface"]):
        return []
    return [
        warn(
            Reason.INTERFACE,
            f"the way to {worker} ({way['numbers'][0]}) goes through {way['interface']}, a bridge "
            "inside of this machine",
            "the network card that leads to the others",
            "Use the address of that card in --hosts, and set NCCL_SOCKET_IFNAME to its name.",
        )
    ]


def _of_own_address(found: Mapping[str, Json], own: int) -> list[Finding]:
    """A worker's own address that no card of its machine has; a tunnel may lead there all the same.

    Whether others reach it by that says more: it is asked then, see `comparison`.
    """
    way = found["peers"][own]
    cards = {number for card in found["interfaces"].values() for number in card["addresses"]}
    numbers = way["numbers"]
    if not numbers or cards & set(numbers) or canonical_host(numbers[0]) == _LOOPBACK:
        return []
    shown = ", ".join(sorted(number for number in cards if canonical_host(number) != _LOOPBACK))
    return [
        warn(
            Reason.ADDRESS,
            f"its address in --hosts, {way['host']}, is none of this machine's ({shown})",
            "the address of one of its network cards",
            "Put the right address or --index there.",
        )
    ]


def _of_choice(found: Mapping[str, Json], ways: Set[str]) -> list[Finding]:
    """A card that NCCL would take for itself (its misc/socket.cc), and that leads to nobody."""
    up = [name for name, card in found["interfaces"].items() if card["is_up"] and card["addresses"]]
    others = [name for name in up if not name.startswith(("docker", "lo", "virbr"))]
    # What begins with ib it takes first, and rightly: a fast network has addresses of its own.
    chosen = next((name for name in up if name.startswith("ib")), "") or next(iter(others), "")
    if found["nccl_interface_setting"] or not ways or chosen.startswith("ib") or chosen in ways:
        return []
    return [
        warn(
            Reason.INTERFACE,
            f"NCCL would take {chosen or 'no card'}, and the others are reached by "
            f"{', '.join(sorted(ways))}",
            "the card that leads to the others",
            f"Set NCCL_SOCKET_IFNAME={min(ways)} on all nodes.",
        )
    ]


def _of_setting(found: Mapping[str, Json]) -> list[Finding]:
    """A setting for NCCL that names no card of this machine; it may name the beginning of one."""
    setting = found["nccl_interface_setting"]
    names = [name for name in setting.split(",") if name]
    if not names or setting.startswith("^"):
        return []
    is_exact = setting.startswith("=")
    wanted = [name.lstrip("=") for name in names]
    cards = [name for name, card in found["interfaces"].items() if card["is_up"]]
    if any(
        card == want or (not is_exact and card.startswith(want))
        for card in cards
        for want in wanted
    ):
        return []
    ways = sorted(
        {way["interface"] for way in found["peers"] if way["interface"] not in ("", "lo")}
    )
    return [
        fail(
            Reason.INTERFACE,
            f"NCCL_SOCKET_IFNAME={setting} names no network card of this machine that is up",
            f"one of {', '.join(cards)}",
            f"Set NCCL_SOCKET_IFNAME={ways[0]} here." if ways else "Unset NCCL_SOCKET_IFNAME.",
        )
    ]


def _of_proxies(variables: Sequence[str], hosts: Sequence[str]) -> Finding:
    return warn(
        Reason.PROXY,
        f"{', '.join(variables)} is set, and no_proxy doesn't name the workers",
        "talk between workers that goes past it, as tfscale's does by itself",
        f"For other programs: export no_proxy={','.join(dict.fromkeys(hosts))}.",
    )
