"""What a worker finds at another one's address, in plain words where it is not what it should be.

A gRPC server, which TensorFlow's is, sends its settings to whoever connects before it is asked
anything, from threads of C++ that need no Python: whoever gets them has seen a process that runs.
"""

import asyncio
import contextlib
import errno
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from tfscale.cluster.machines import misnamed, split_address

ANSWER_SECONDS = 1.0  # in which whoever runs has answered
_LATE_SECONDS = 0.05
_LOOKUP_SECONDS = 5.0  # of a host name
_LONGEST = 2**17  # bytes of what is read in one piece
_SHOWN_BYTES = 40  # of what another program says
_SETTINGS = 4  # the type of HTTP/2's frame
_PLAIN = {
    errno.ECONNREFUSED: "nothing listens there yet: connection refused",
    errno.EHOSTUNREACH: "no route to that machine: is it up, and in this network?",
    errno.ENETUNREACH: "no route to that machine: is it up, and in this network?",
    errno.ECONNRESET: "the connection is closed at once",
    errno.EADDRNOTAVAIL: "this machine can't connect to such an address",
}
_T = TypeVar("_T")


class Unreachable(Exception):
    """No connection to an address.

    Args:
        reason: in plain words.
        is_refused: whether the machine is there and says that nothing listens.
    """

    def __init__(self, reason: str, *, is_refused: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_refused = is_refused


@dataclass(frozen=True)
class Link:
    """An open connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def number(self) -> str:
        """Of the machine at the other end."""
        return str(self.writer.get_extra_info("peername")[0])

    def close(self) -> None:
        """Closes it, without waiting for what the other side makes of that."""
        self.writer.close()

    def __enter__(self) -> "Link":
        """Gives itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Closes it."""
        self.close()

    async def first_words(self, timeout_seconds: float = ANSWER_SECONDS) -> bytes | None:
        """What the other side says next, b"" if it closes instead, None if it is silent."""
        # Twice, because what came while this process was held up itself is there, and counts.
        for seconds in (timeout_seconds, _LATE_SECONDS):
            try:
                return await asyncio.wait_for(self.reader.read(_LONGEST), seconds)
            except TimeoutError:
                pass
            except OSError:
                return b""
        return None

    async def line(self, timeout_seconds: float = ANSWER_SECONDS) -> bytes:
        """The next whole line; b"" if there is none in time."""
        try:
            return await asyncio.wait_for(self.reader.readline(), timeout_seconds)
        except (TimeoutError, OSError, ValueError):
            return b""

    async def say(self, line: bytes) -> None:
        """Sends it, if anybody still listens."""
        with contextlib.suppress(OSError):
            self.writer.write(line)
            await self.writer.drain()


async def connect(address: str, timeout_seconds: float = ANSWER_SECONDS) -> Link:
    """Connects to a `host:port`.

    Raises:
        Unreachable: it can't be done, and why.
    """
    host, port = split_address(address)
    found = await _resolved(host.strip("[]"), port)
    problem = Unreachable("its name has no address")
    for place in dict.fromkeys(place[4][:2] for place in found):
        try:
            opening = asyncio.open_connection(*place, limit=_LONGEST)
            reader, writer = await asyncio.wait_for(opening, timeout_seconds)
        except TimeoutError:
            problem = Unreachable(
                f"no answer within {timeout_seconds:g} s: a firewall, or the machine is down"
            )
        except OSError as error:
            problem = _explained(error, misnamed(host, place[0]))
        else:
            ends = (writer.get_extra_info(name) for name in ("sockname", "peername"))
            if len(set(ends)) > 1:
                return Link(reader, writer)
            # The system gave this end the very port that it asks for: the two ends are one.
            writer.close()
            problem = _explained(OSError(errno.ECONNREFUSED, ""))
    raise problem


def is_grpc(words: bytes | None) -> bool:
    """Whether somebody's first words are the settings of HTTP/2, as a gRPC server sends them."""
    return words is not None and len(words) >= 9 and words[3] == _SETTINGS and not any(words[5:9])


async def is_answering(address: str, timeout_seconds: float = ANSWER_SECONDS) -> bool:
    """Whether a gRPC server that runs is at an address."""
    try:
        with await connect(address, timeout_seconds) as link:
            return is_grpc(await link.first_words(timeout_seconds))
    except Unreachable:
        return False


async def described(link: Link, words: bytes | None) -> str:
    """What another program is, by what it says."""
    if words is None:
        # Most servers wait to be asked.
        await link.say(b"HELLO tfscale\r\n\r\n")
        words = await link.first_words()
    if words is None:
        return "something there accepts connections and says nothing: another program, or stopped"
    if not words:
        return "something there closes the connection: another program, or a worker that ends"
    text = "".join(chr(byte) for byte in words[:_SHOWN_BYTES].split(b"\r")[0].split(b"\n")[0])
    shown = "".join(letter if letter.isascii() and letter.isprintable() else "." for letter in text)
    return f"another program answers there ({shown!r})"


def run_apart(work: Callable[[], Awaitable[_T]]) -> _T:
    """Runs a coroutine to its end in a thread: a notebook's own thread has a loop that runs.

    Raises:
        Exception: what the coroutine raises.
    """
    results: list[_T] = []
    errors: list[BaseException] = []
    stops: list[Callable[[], object]] = []

    async def wrapped() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is not None:
            stops.append(lambda: loop.call_soon_threadsafe(task.cancel))
        results.append(await work())

    def run() -> None:
        try:
            asyncio.run(wrapped())
        except BaseException as error:  # raised again where it was asked for
            errors.append(error)

    thread = threading.Thread(target=run, name="asking", daemon=True)
    thread.start()
    try:
        thread.join()
    finally:  # Ctrl-C
        for stop in stops:
            with contextlib.suppress(RuntimeError):  # it has ended
                stop()
    if errors:
        raise errors[0]
    return results[0]


def _explained(error: OSError, remark: str = "") -> Unreachable:
    reason = _PLAIN.get(error.errno or 0, error.strerror or str(error))
    reason += f" ({remark})" if remark else ""
    return Unreachable(reason, is_refused=error.errno == errno.ECONNREFUSED)


async def _resolved(host: str, port: int) -> list[Any]:
    """Where a name leads; asked in a thread that nobody waits for when it hangs.

    Raises:
        Unreachable: nobody knows.
    """
    with contextlib.suppress(OSError):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[Any]] = loop.create_future()

    def settle(found: list[Any] | None, problem: Unreachable | None) -> None:
        if answer.done():
            return
        if problem is None:
            answer.set_result(found or [])
        else:
            answer.set_exception(problem)

    def look() -> None:
        found, problem = None, None
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            said = error.strerror or str(error)
            problem = Unreachable(f"its host name does not resolve: {said}")
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, found, problem)

    threading.Thread(target=look, name="lookup", daemon=True).start()
    try:
        return await asyncio.wait_for(answer, _LOOKUP_SECONDS)
    except TimeoutError:
        raise Unreachable("its host name is not resolved: the name server is silent") from None
