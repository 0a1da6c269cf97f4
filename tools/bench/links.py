"""Links of a chosen bandwidth between the workers of one machine: a network namespace for each.

Each worker's namespace has one end of a veth pair; the other ends meet in a bridge, in a namespace
of its own. Linux's token bucket (tc-tbf(8)) limits what leaves each end, so that sending and
receiving have the bandwidth each, as on a switched network.
"""

import contextlib
import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tfscale.errors import ConfigError

_made = itertools.count()  # so that one process can have several links

_NAME = "tfscale"
_PORT = 2222
_BURST_BYTES = 131_072  # two of the largest packets that the kernel hands on unsegmented


@dataclass(frozen=True)
class ShapedLink:
    """Where the workers of one group run.

    Args:
        namespaces: one a worker; empty for the machine's own loopback.
    """

    namespaces: tuple[str, ...] = ()

    def hosts(self, workers: int) -> tuple[str, ...]:
        """Addresses of the workers, `host:port`."""
        return tuple(f"{_address(index)}:{_PORT}" for index in range(workers))

    def command(self, index: int) -> list[str]:
        """What stands in front of a worker's command."""
        # Gloo takes the interface of the machine's name unless it is told another.
        inside = ["env", "GLOO_SOCKET_IFNAME=eth0"]
        return ["ip", "netns", "exec", self.namespaces[index], *inside]


@contextlib.contextmanager
def shaped(
    workers: int, mbps: float, *, others: Mapping[int, float] | None = None
) -> Iterator[ShapedLink]:
    """Makes namespaces whose links have a bandwidth, and removes them.

    Args:
        workers: how many.
        mbps: megabits a second, each way.
        others: what the links of some workers have instead, by their index.

    Raises:
        ConfigError: not root, `ip` and `tc` aren't there, or one of them failed.
    """
    if os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("tc")):
        raise ConfigError(
            f"--link_mbps={mbps:g} makes network namespaces; expected root and the programs ip and "
            "tc (Debian: iproute2). Leave --link_mbps out to measure on the loopback."
        )
    remove_left_over()
    prefix = f"{_NAME}-{os.getpid()}-{next(_made)}"
    switch = f"{prefix}-switch"
    names = tuple(f"{prefix}-{index}" for index in range(workers))
    try:
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        for index, name in enumerate(names):
            _join(switch, name, index, (others or {}).get(index, mbps))
        yield ShapedLink(names)
    finally:
        for name in (*names, switch):
            _delete(name)


def remove_left_over() -> None:
    """Removes the namespaces of benchmarks that were killed."""
    for line in _ip("netns", "list").splitlines():
        name = line.partition(" ")[0]
        found = re.fullmatch(rf"{_NAME}-(\d+)-\d+-\w+", name)
        if found and not os.path.exists(f"/proc/{found[1]}"):
            _delete(name)


def _delete(name: str) -> None:
    """Removes a namespace and what is in it; one that isn't there, or no longer, is no error."""
    with contextlib.suppress(ConfigError):
        _ip("netns", "delete", name)


def _join(switch: str, name: str, index: int, mbps: float) -> None:
    """Makes one worker's namespace and its link to the bridge."""
    port = f"port{index}"
    _ip("netns", "add", name)
    _ip("-n", switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
    _ip("-n", switch, "link", "set", port, "master", "bridge", "up")
    _ip("-n", name, "address", "add", f"{_address(index)}/16", "dev", "eth0")
    _ip("-n", name, "link", "set", "lo", "up")
    _ip("-n", name, "link", "set", "eth0", "up")
    for namespace, device in ((switch, port), (name, "eth0")):
        limit = ["rate", f"{mbps:g}mbit", "burst", str(_BURST_BYTES), "latency", "50ms"]
        _run("tc", "-n", namespace, "qdisc", "add", "dev", device, "root", "tbf", *limit)


def _address(index: int) -> str:
    return f"10.77.{index // 250}.{index % 250 + 1}"


def _ip(*words: str) -> str:
    return _run("ip", *words)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise ConfigError(
            f"`{' '.join(command)}` failed: {done.stderr.partition(chr(10))[0]} Links of a chosen "
            "bandwidth need the right to make network namespaces (in a container: privileged) and "
            "the kernel's veth, bridge and sch_tbf. Leave --link_mbps out to measure on the "
            "loopback."
        )
    return done.stdout
