"""Nodes at the very ports that a run would use: each answers there, and looks for all others.

A training that comes by takes a doctor for another program, and says so: nobody trains with it.
"""

import asyncio
import contextlib
import json
import queue
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict

from tfscale.cluster.cluster import Cluster
from tfscale.cluster.json_lines import JsonLines, tell
from tfscale.cluster.machines import split_address
from tfscale.errors import ConfigError
from tfscale.startup.network.handshake import GREETING, Hello, read_hello
from tfscale.startup.network.own_port import PortTaken, holder, listen
from tfscale.startup.network.probe import Unreachable, connect, described, is_grpc, run_apart
from tfscale.structures import Json
from tools.doctor.findings import Finding, Reason, fail, refused

_DOCTOR = b"doctor of "  # in front of what a worker says of itself
_HELLO_SECONDS = 3.0
_POLL_SECONDS = 0.1
_CONNECT_SECONDS = 3.0
_PORT_SECONDS = 2.0  # for what has just ended there


class Line:
    """A connection between worker 0 and another one, over which one of them asks.

    Args:
        connection: of which nothing was read that `lines` hasn't.
        lines: what comes through it.
        came_from: the address of the other end.
    """

    def __init__(self, connection: socket.socket, lines: JsonLines, came_from: str = "") -> None:
        self._connection, self._lines, self.came_from = connection, lines, came_from

    def say(self, words: Mapping[str, Json]) -> None:
        """Sends a line, if anybody still listens."""
        self._connection.settimeout(_HELLO_SECONDS)
        tell([self._connection], words)

    def hear(self, seconds: float) -> dict[str, Json] | None:
        """The next line; None where none comes in this time."""
        return self._lines.next(max(0.0, seconds))

    def ask(self, words: Mapping[str, Json], seconds: float) -> dict[str, Json] | None:
        """Sends a line and gives the answer."""
        self.say(words)
        return self.hear(seconds)

    def close(self) -> None:
        """Hangs up."""
        with contextlib.suppress(OSError):
            self._connection.close()


class Reception:
    """Says who this worker is to whoever connects, until it is closed.

    Args:
        own: what it says.
        listening: at the port of the run; it closes with the reception.
    """

    def __init__(self, own: Hello, listening: socket.socket) -> None:
        """Begins at once, in threads of its own."""
        self._own, self._listening = own, listening
        self._is_over = threading.Event()
        self.staying: queue.Queue[tuple[int, Line]] = queue.Queue()
        listening.settimeout(_POLL_SECONDS)
        self._thread = threading.Thread(target=self._accept, name="reception", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Returns when nothing listens at the port any more; whoever stays unasked is let go."""
        self._is_over.set()
        self._thread.join()
        with contextlib.suppress(queue.Empty):
            while True:
                self.staying.get_nowait()[1].close()

    def _accept(self) -> None:
        with self._listening:
            while not self._is_over.is_set():
                with contextlib.suppress(OSError):
                    connection, place = self._listening.accept()
                    args = (connection, str(place[0]).removeprefix("::ffff:"))
                    threading.Thread(target=self._receive, args=args, daemon=True).start()

    def _receive(self, connection: socket.socket, came_from: str) -> None:
        connection.settimeout(_HELLO_SECONDS)
        with contextlib.suppress(OSError):
            connection.sendall(_DOCTOR + self._own.line())
        lines = JsonLines(connection)
        words = lines.next(_HELLO_SECONDS) or {}
        theirs = _of_json(words.get("hello"))
        if theirs is None or not self._own.is_of_same_job(theirs):
            connection.close()
            return
        tell([connection], {"seen": self._own.rank})
        if words.get("stays"):
            self.staying.put((theirs.rank, Line(connection, lines, came_from)))
        else:
            connection.close()


def receive(own: Hello, cluster: Cluster) -> Reception | Finding:
    """Listens at the port of the run, or says why that can't be done."""
    _, port = split_address(cluster.addresses[cluster.index])
    deadline = time.monotonic() + _PORT_SECONDS
    while True:
        try:
            return Reception(own, listen(port))
        except ConfigError as error:
            return refused(Reason.PORT, error).at(cluster.index)
        except PortTaken:
            if time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            return fail(
                Reason.PORT,
                f"its port {port} is taken by {holder(port)}",
                "a free port",
                "End that process, or use another port in --hosts.",
            ).at(cluster.index)


def problems(
    cluster: Cluster, own: Hello, deadline: float, ranks: list[int] | None = None
) -> dict[int, str]:
    """Why other workers can't be reached, by rank, in plain words; each is tried until then.

    Args:
        cluster: where they are.
        own: what this worker says of itself.
        deadline: of `time.monotonic`.
        ranks: of those that are looked for; all others where it isn't said.
    """
    others = [rank for rank in range(cluster.num_workers) if rank != cluster.index]

    async def look_for(rank: int) -> str:
        while problem := await _problem(cluster.addresses[rank], own, rank):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(_POLL_SECONDS)
        return problem

    async def look() -> list[str]:
        return await asyncio.gather(*map(look_for, others if ranks is None else ranks))

    found = run_apart(look)
    pairs = zip(others if ranks is None else ranks, found, strict=True)
    return {rank: problem for rank, problem in pairs if problem}


async def _problem(address: str, own: Hello, rank: int) -> str:
    """Why the one at an address is not the worker that is looked for; "" if it is."""
    try:
        with await connect(address) as link:
            words = await link.first_words()
            if words is not None and words.startswith(_DOCTOR) and not words.endswith(b"\n"):
                words += await link.line()
            theirs = read_hello((words or b"").removeprefix(_DOCTOR))
            if words is None or theirs is None or not words.startswith(_DOCTOR):
                if is_grpc(words) or (words or b"").startswith(GREETING):
                    return "a training answers there: one that still runs, or another job's"
                return await described(link, words)
            if problem := own.problem_with(theirs, rank, link.number):
                return problem
            await link.say(json.dumps({"hello": asdict(own)}).encode() + b"\n")
            return "" if await link.line() else "it did not answer in time"
    except Unreachable as error:
        return error.reason


def line_to(cluster: Cluster, own: Hello) -> Line | None:
    """A connection to worker 0 that stays; None where it can't be had."""
    host, port = split_address(cluster.addresses[0])
    try:
        connection = socket.create_connection((host.strip("[]"), port), _CONNECT_SECONDS)
    except OSError:
        return None
    _skip_greeting(connection)
    lines = JsonLines(connection)
    tell([connection], {"hello": asdict(own), "stays": True})
    if lines.next(_HELLO_SECONDS) is None:
        connection.close()
        return None
    return Line(connection, lines)


def _skip_greeting(connection: socket.socket) -> None:
    """Reads the first line, which is no JSON; letter by letter, so that nothing behind it is."""
    connection.settimeout(_HELLO_SECONDS)
    with contextlib.suppress(OSError):
        while connection.recv(1) not in (b"\n", b""):
            pass


def _of_json(told: Json) -> Hello | None:
    """What somebody says of itself, once it is what a worker says."""
    return read_hello(GREETING + json.dumps(told).encode()) if isinstance(told, dict) else None
