"""Workers meet at their own addresses before TensorFlow waits for them in silence.

TensorFlow's constructor waits for the others in C++ without a limit and holds Python's lock
meanwhile, so that no thread of this process could name them or give up. Hence this before it: until
it has seen all others, a worker listens at its own address; after that, TensorFlow does.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tfscale.cluster.cluster import Cluster
from tfscale.errors import START_TIMEOUT_CODE, ConfigError, End
from tfscale.process.exit import leave, record_end
from tfscale.process.terminal import silence
from tfscale.startup.network.handshake import GREETING, SEEN, Hello, read_hello
from tfscale.startup.network.own_port import PortTaken, holder, listen
from tfscale.startup.network.probe import (
    Link,
    Unreachable,
    connect,
    described,
    is_answering,
    is_grpc,
    run_apart,
)

PROGRESS_SECONDS = 5.0
_REFUSING_SECONDS = 10.0  # workers that are started together come within a few seconds
_LEAST_SECONDS = 3.5  # for TensorFlow, however late the last worker came
_POLL_SECONDS = 0.1
_SERVER_POLL_SECONDS = 0.01
_OTHERS_SERVER = (
    "a TensorFlow server that has not met this worker answers there: "
    "one of an earlier start that still runs, or of another job"
)


@dataclass(frozen=True)
class Met:
    """What a worker knows when all have met.

    Args:
        seconds_left: of the timeout.
        gpus: UUIDs of those that each worker sees, in the order of the ranks.
    """

    seconds_left: float
    gpus: tuple[tuple[str, ...], ...]


def meet(
    cluster: Cluster,
    timeout_seconds: float,
    complain: Callable[[str], None],
    gpus: Sequence[str] = (),
) -> Met:
    """Returns when every worker has been met at its address; says whom it waits for, and why.

    A worker has been met when what listens at its address says that it is that worker of this job,
    or is a TensorFlow server and the worker came here before. If that takes too long, the process
    ends with a code that says "try again".

    Args:
        cluster: who the workers are.
        timeout_seconds: how long to wait for the others.
        complain: gets a line every five seconds, and the reason of an end.
        gpus: UUIDs of those that this worker sees.

    Raises:
        ConfigError: this worker's port can't be had, or another worker refuses to take part.
    """
    deadline = time.monotonic() + timeout_seconds
    meeting = _Meeting(cluster, timeout_seconds, complain, Hello.of(cluster, gpus))
    with _own_port(cluster, meeting) as listening:
        run_apart(lambda: meeting.held(listening))
    return Met(max(deadline - time.monotonic(), _LEAST_SECONDS), meeting.gpus())


def refuse(cluster: Cluster, reason: str) -> None:
    """Tells the other workers, instead of meeting them, why this one doesn't take part.

    Those that come within ten seconds end with the same reason; later ones find nobody. Where the
    port is taken, as by an earlier start that still runs, none can be told.

    Args:
        cluster: who the workers are.
        reason: one line.
    """
    if cluster.num_workers > 1:
        own = Hello.of(cluster, refusal=reason)
        meeting = _Meeting(cluster, _REFUSING_SECONDS, silence, own)
        with contextlib.suppress(PortTaken, ConfigError), listen(_port_of(cluster)) as listening:
            run_apart(lambda: meeting.refuse(listening))


class _Meeting:
    """What one worker knows of the others while they meet."""

    def __init__(
        self,
        cluster: Cluster,
        timeout_seconds: float,
        complain: Callable[[str], None],
        own: Hello,
    ) -> None:
        self._cluster = cluster
        self._own = own
        self._refusal = ""  # of another worker
        self._timeout_seconds = timeout_seconds
        self._complain = complain
        self._began = time.monotonic()
        self._said = self._began
        # Who has been here: a server at its address is its own.
        self._came: set[int] = set()
        self._gpus = {cluster.index: own.gpus}
        others = [rank for rank in range(cluster.num_workers) if rank != cluster.index]
        self.missing = dict.fromkeys(others, "not asked yet")

    def gpus(self) -> tuple[tuple[str, ...], ...]:
        """UUIDs of those that each worker sees, once all have been met."""
        return tuple(self._gpus.get(rank, ()) for rank in range(self._cluster.num_workers))

    def say(self, waiting_for: str) -> None:
        """Says what is waited for."""
        self._said = time.monotonic()
        waited = self._said - self._began
        self._complain(f"Worker {self._cluster.index} has waited {waited:.0f} s for: {waiting_for}")

    def note_time(self, waiting_for: str) -> None:
        """Says what is waited for if it is time to, and ends the process if there is none left."""
        now = time.monotonic()
        waited = now - self._began
        if waited >= self._timeout_seconds:
            reason = (
                f"Worker {self._cluster.index} gave up after {waited:.0f} s of waiting for: "
                f"{waiting_for}. Check that each worker runs the same command with its own "
                "--index and that no firewall is between them; --start_timeout sets the limit."
            )
            self._complain(reason)
            record_end(End.of(START_TIMEOUT_CODE, reason))
            leave(START_TIMEOUT_CODE)
        if now - self._said >= PROGRESS_SECONDS:
            self.say(waiting_for)

    async def held(self, listening: socket.socket) -> None:
        """Returns when nobody is missing, and TensorFlow's server is at the chief's address.

        Who asks that server a moment too early is refused, and asks again only a second later:
        every second start took that second longer. Until then this worker stays where it is: the
        chief may not have seen it yet.
        """
        server = await asyncio.start_server(self._receive, sock=listening)
        looking = [asyncio.create_task(self._look_for(rank)) for rank in self.missing]
        try:
            await self._wait()
            if not self._cluster.is_chief:
                self.missing[0] = "met, its TensorFlow server has not started yet"
                looking.append(asyncio.create_task(self._await_server(0)))
                await self._wait()
        finally:
            server.close()
            for task in looking:
                task.cancel()
            await asyncio.gather(*looking, return_exceptions=True)

    async def refuse(self, listening: socket.socket) -> None:
        """Returns when all others have heard that this worker refuses, or didn't come in time."""
        server = await asyncio.start_server(self._receive, sock=listening)
        deadline = self._began + self._timeout_seconds
        while len(self._came) < len(self.missing) and time.monotonic() < deadline:
            await asyncio.sleep(_SERVER_POLL_SECONDS)
        server.close()

    async def _wait(self) -> None:
        while self.missing:
            if self._refusal:
                raise ConfigError(self._refusal)
            self.note_time(_named(self._cluster, self.missing))
            await asyncio.sleep(_SERVER_POLL_SECONDS)

    async def _look_for(self, rank: int) -> None:
        while True:
            try:
                with await connect(self._cluster.addresses[rank]) as link:
                    problem = await self._problem_of(link, rank)
            except Unreachable as error:
                problem = error.reason
            if not problem:
                del self.missing[rank]
                return
            self.missing[rank] = problem
            await asyncio.sleep(_POLL_SECONDS)

    async def _problem_of(self, link: Link, rank: int) -> str:
        """Why the one at the other end is not the worker that is looked for; "" if it is."""
        words = await link.first_words()
        if is_grpc(words):
            return "" if rank in self._came else _OTHERS_SERVER
        if words is not None and words.startswith(GREETING) and not words.endswith(b"\n"):
            words += await link.line()
        theirs = read_hello(words or b"")
        if theirs is None:
            return await described(link, words)
        if problem := self._own.problem_with(theirs, rank, link.number):
            return problem
        await link.say(self._own.line())
        if await link.line() != SEEN:
            return "it did not answer in time"
        self._gpus[rank] = theirs.gpus
        self._refusal = self._refusal or theirs.refusal
        return theirs.refusal

    async def _await_server(self, rank: int) -> None:
        while not await is_answering(self._cluster.addresses[rank]):
            await asyncio.sleep(_SERVER_POLL_SECONDS)
        del self.missing[rank]

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Says who this worker is to whoever connects, and remembers which workers did."""
        with Link(reader, writer) as link:
            await link.say(self._own.line())
            theirs = read_hello(await link.line(_LEAST_SECONDS))
            if theirs is not None and self._own.is_of_same_job(theirs):
                self._came.add(theirs.rank)
                self._gpus[theirs.rank] = theirs.gpus
                await link.say(SEEN)


@contextlib.contextmanager
def _own_port(cluster: Cluster, meeting: _Meeting) -> Iterator[socket.socket]:
    """This worker's port, as soon as nobody else has it."""
    port = _port_of(cluster)
    looked = float("-inf")
    while True:
        try:
            listening = listen(port)
            break
        except PortTaken:
            now = time.monotonic()
            if now - looked >= PROGRESS_SECONDS:
                # At once the first time; to look through all processes takes a while.
                looked, what = now, f"its own port {port}, which is taken by {holder(port)}"
                meeting.say(what)
            meeting.note_time(what)
            time.sleep(_POLL_SECONDS)
    with listening:
        yield listening


def _port_of(cluster: Cluster) -> int:
    return int(cluster.addresses[cluster.index].rpartition(":")[2])


def _named(cluster: Cluster, missing: Mapping[int, str]) -> str:
    """Who is missing and why, those with one reason together."""
    by_reason: dict[str, list[str]] = {}
    for rank, why in missing.items():
        by_reason.setdefault(why, []).append(cluster.named(rank))
    return ", ".join(f"{', '.join(who)} ({why})" for why, who in by_reason.items())
