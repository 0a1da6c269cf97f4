"""Workers that know their rank, and at most where rank 0 is, tell each other their addresses.

Plain sockets, before TensorFlow is imported: rank 0 listens, every other worker says its rank and
the port that it has chosen, and all get the list once all have come. A host is what its connection
comes from, so that no name has to be resolved and no interface chosen. Where nobody says where
rank 0 is, it writes that into the run directory, which all of them see; what an earlier start has
left there answers nobody, or with another nonce.
"""

import contextlib
import ipaddress
import json
import secrets
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tfscale.cluster.dialects.said import FIRST_PORT, Said, address, port_of
from tfscale.cluster.json_lines import JsonLines, tell
from tfscale.cluster.machines import misnamed
from tfscale.errors import START_TIMEOUT_CODE, ConfigError, SharedFailure
from tfscale.structures import Json

_FILE = ".tfscale-rank-0.json"
_SAY_SECONDS, _POLL_SECONDS, _CONNECT_SECONDS = 10.0, 0.1, 2.0
_HELLO_SECONDS = 3.0  # for each side to say who it is


@dataclass(frozen=True)
class Way:
    """How workers find rank 0.

    Args:
        leader: its host, or `host:port`; "" where the folder says it.
        folder: that all workers see, in place of a leader.
        timeout_seconds: for all of it.
        say: gets a line every ten seconds of waiting.
    """

    leader: str
    folder: Path | None
    timeout_seconds: float
    say: Callable[[str], None]


def introduce(said: Said, way: Way) -> tuple[str, ...]:
    """The addresses of all workers, in the order of their ranks; returns when all have come.

    Args:
        said: who this worker is.
        way: to rank 0.

    Raises:
        ConfigError: two workers say that they are the same, or belong to two launches.
        SharedFailure: not all have come in time; the same command may do better a minute later.
    """
    with _chosen_port() as own_port:
        meeting = _Meeting(said, way, own_port)
        return meeting.lead() if said.rank == 0 else meeting.follow()


class _Meeting:
    def __init__(self, said: Said, way: Way, own_port: int) -> None:
        self._said, self._way, self._own_port = said, way, own_port
        self._deadline = time.monotonic() + way.timeout_seconds
        self._said_at = time.monotonic()
        self._remark = ""  # about where the leader's name leads

    # Rank 0.

    def lead(self) -> tuple[str, ...]:
        """Listens until all have come, and tells them."""
        nonce = secrets.token_hex(8) if not self._way.leader else ""
        port = 0 if nonce else self._meeting_port()
        with contextlib.ExitStack() as stack:
            listening = stack.enter_context(_listening(port))
            if nonce:
                stack.enter_context(self._announced(listening.getsockname()[1], nonce))
            come: dict[int, tuple[socket.socket, int]] = {}
            try:
                while len(come) < self._said.size - 1:
                    self._tell_missing(come)
                    self._accept(listening, stack, come, nonce)
            except SharedFailure as error:
                tell([one for one, _ in come.values()], {"missing": error.reason})
                raise
            addresses = self._addresses(come)
            tell([one for one, _ in come.values()], {"addresses": addresses})
        return tuple(addresses)

    def _accept(
        self,
        listening: socket.socket,
        stack: contextlib.ExitStack,
        come: dict[int, tuple[socket.socket, int]],
        nonce: str,
    ) -> None:
        with selectors.DefaultSelector() as waiting:
            waiting.register(listening, selectors.EVENT_READ)
            for connection, _ in come.values():
                waiting.register(connection, selectors.EVENT_READ)
            for key, _ in waiting.select(_POLL_SECONDS):
                if key.fileobj is listening:
                    self._welcome(stack.enter_context(listening.accept()[0]), come, nonce)
                else:  # who has come says nothing more: it has gone
                    rank = next(at for at, (one, _) in come.items() if one is key.fileobj)
                    del come[rank]

    def _welcome(
        self, connection: socket.socket, come: dict[int, tuple[socket.socket, int]], nonce: str
    ) -> None:
        """Takes a worker in that says who it is; drops whatever else has connected."""
        hello = JsonLines(connection).next(_HELLO_SECONDS)
        if hello is None:
            return
        rank, size, port = (_whole(hello.get(name)) for name in ("rank", "size", "port"))
        expected = {"key": self._said.key, "nonce": nonce}
        problem = ""
        if any(hello.get(name) != value for name, value in expected.items()):
            problem = "it belongs to another launch"
        elif size != self._said.size or not 0 < rank < size:
            problem = f"it says that it is worker {rank} of {size}, and there are {self._said.size}"
        elif rank in come:
            problem = f"worker {rank} is there already"
        elif not 0 < port < 65536:
            problem = "it has no port"
        tell([connection], {"refused": problem} if problem else {"welcome": nonce})
        if not problem:
            come[rank] = connection, port

    def _addresses(self, come: dict[int, tuple[socket.socket, int]]) -> list[str]:
        """Of all, as whoever comes from outside reaches them."""
        outside = [one for one, _ in come.values() if not _is_loopback(one.getpeername()[0])]
        own = _plain(outside[0].getsockname()[0]) if outside else "127.0.0.1"
        found = {0: address(own, self._own_port)}
        for rank, (connection, port) in come.items():
            host = connection.getpeername()[0]
            found[rank] = address(own if _is_loopback(host) else _plain(host), port)
        return [found[rank] for rank in range(self._said.size)]

    @contextlib.contextmanager
    def _announced(self, port: int, nonce: str) -> Iterator[None]:
        """The file that says where rank 0 is, as long as it listens."""
        path = self._file()
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"hosts": _own_hosts(), "port": port, "nonce": nonce})
        temporary = path.with_name(f"{path.name}.{nonce}")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                if json.loads(path.read_text(encoding="utf-8"))["nonce"] == nonce:
                    path.unlink()

    def _tell_missing(self, come: dict[int, tuple[socket.socket, int]]) -> None:
        missing = [rank for rank in range(1, self._said.size) if rank not in come]
        shown = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
        self._wait(f"worker {shown} of {self._said.size}")

    # All others.

    def follow(self) -> tuple[str, ...]:
        """Asks rank 0 until it tells who all are."""
        hello = {
            "rank": self._said.rank,
            "size": self._said.size,
            "key": self._said.key,
            "port": self._own_port,
        }
        while True:
            for host, port, nonce in self._places():
                answer = self._asked(host, port, {**hello, "nonce": nonce})
                if answer is not None and "addresses" in answer:
                    return tuple(answer["addresses"])
                if answer is not None and "missing" in answer:
                    raise SharedFailure(str(answer["missing"]), START_TIMEOUT_CODE)
                if answer is not None and not nonce:
                    raise ConfigError(
                        f"Worker 0 at {address(host, port)} doesn't take this worker in: "
                        f"{answer.get('refused')}; expected workers of one launch, each of a rank "
                        "of its own. End what is left of an earlier one, or look at the ranks that "
                        "your launcher gives."
                    )
            self._wait(f"worker 0 at {self._way.leader or self._file()}{self._remark}")
            time.sleep(_POLL_SECONDS)

    def _places(self) -> list[tuple[str, int, str]]:
        """Where rank 0 may be: host, port and nonce."""
        if self._way.leader:
            return [(self._leader_host(), self._meeting_port(), "")]
        try:
            said = json.loads(self._file().read_text(encoding="utf-8"))
            return [(host, int(said["port"]), str(said["nonce"])) for host in said["hosts"]]
        except (OSError, ValueError, KeyError, TypeError):
            return []  # it isn't there yet

    def _asked(self, host: str, port: int, hello: dict[str, object]) -> dict[str, Json] | None:
        """What rank 0 answers; None where nobody does: a name may not be known yet."""
        try:
            with socket.create_connection((host, port), _CONNECT_SECONDS) as connection:
                connection.sendall(json.dumps(hello).encode() + b"\n")
                lines = JsonLines(connection)
                # Another program may listen where an earlier start has been, and say nothing.
                answer = lines.next(_HELLO_SECONDS)
                if answer is None or "welcome" not in answer:
                    return answer
                # Worker 0 may have begun to wait later, and is who knows which of the others miss.
                return lines.next(self._way.timeout_seconds + _HELLO_SECONDS)
        except OSError:
            with contextlib.suppress(OSError):
                numbers = [str(one[4][0]) for one in socket.getaddrinfo(host, port)]
                remarks = [misnamed(self._leader_host(), number) for number in numbers]
                self._remark = f" ({remarks[0]})" if all(remarks) else ""
            return None

    def _wait(self, for_whom: str) -> None:
        now = time.monotonic()
        if now > self._deadline:
            raise SharedFailure(
                f"{for_whom[0].upper()}{for_whom[1:]} hasn't come within "
                f"{self._way.timeout_seconds:g} s (--start_timeout). All have to be started at "
                "about the same time, and to reach worker 0.",
                START_TIMEOUT_CODE,
            )
        if now > self._said_at + _SAY_SECONDS:
            self._said_at = now
            self._way.say(f"Worker {self._said.rank} waits for {for_whom}.")

    def _file(self) -> Path:
        assert self._way.folder is not None  # noqa: S101 - where there is no leader
        return self._way.folder / _FILE

    def _leader_host(self) -> str:
        host, _, port = self._way.leader.rpartition(":")
        return host.strip("[]") if port.isdigit() and host else self._way.leader

    def _meeting_port(self) -> int:
        _, _, port = self._way.leader.rpartition(":")
        has_port = port.isdigit() and self._leader_host() != self._way.leader
        return int(port) if has_port else port_of(f"introduction {self._said.key}")


@contextlib.contextmanager
def _chosen_port() -> Iterator[int]:
    """A port on which nothing listens now, held while the others are met."""
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            port = FIRST_PORT + secrets.randbelow(10000)
            with contextlib.suppress(OSError):
                stack.enter_context(_bound(port))
                break
        else:
            raise ConfigError(
                f"No port from {FIRST_PORT} to {FIRST_PORT + 9999} is free on this machine; "
                "expected one. End what uses them."
            )
        yield port


def _bound(port: int, *, is_shared: bool = False) -> socket.socket:
    """A socket of all interfaces at a port, both kinds of addresses where the machine has both.

    Args:
        port: 0 for any.
        is_shared: whether connections that an earlier start has left there are no hindrance.
    """
    has_both = socket.has_dualstack_ipv6()
    made = socket.socket(socket.AF_INET6 if has_both else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(is_shared))
        if has_both:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind(("", port))
    except OSError:
        made.close()
        raise
    return made


def _listening(port: int) -> socket.socket:
    try:
        made = _bound(port, is_shared=True)
        made.listen(1024)
    except OSError as error:
        raise ConfigError(
            f"Worker 0 can't listen at port {port} ({error.strerror}); expected it free, so that "
            "the others find it there. End what is left of an earlier start, or give "
            "--leader=HOST:PORT."
        ) from error
    return made


def _whole(value: Json) -> int:
    """A whole number as it came; -1 for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


def _own_hosts() -> list[str]:
    """This machine's numbers, those of the loopback first: nobody else hears what goes over it."""
    families = (socket.AF_INET, socket.AF_INET6)
    cards = psutil.net_if_addrs().values()
    found = [one.address for card in cards for one in card if one.family in families]
    usable = [host for host in found if "%" not in host]
    return sorted(dict.fromkeys(usable), key=lambda host: not _is_loopback(host))


def _plain(host: str) -> str:
    """An IPv4 address as such, also where it came through a socket of IPv6."""
    number = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(number, "ipv4_mapped", None)
    return str(mapped or number)


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(_plain(host)).is_loopback
