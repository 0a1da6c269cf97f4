"""Whether the other workers still run: the system says at once when a process ends.

The chief keeps an idle connection to every worker's TensorFlow port, and every worker one to the
chief's. The system closes it when the process at the other end dies, whatever killed it; and who is
refused when it connects again has seen that nothing listens there any more. Every few seconds a new
connection takes the place of the old one (a gRPC server closes what never speaks after two
minutes), and its greeting, which comes from threads of C++ that need no Python, shows that the
process runs: one that is stopped, or whose link is cut, lets the connection hang.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Mapping

from tfscale.cluster.cluster import Cluster
from tfscale.startup.network.probe import (
    ANSWER_SECONDS,
    Link,
    Unreachable,
    connect,
    is_answering,
    is_grpc,
    run_apart,
)

ENDED = "has ended without saying why (killed, or out of memory?)"
_SILENT = "has not answered for {seconds:.0f} s (stopped, or cut off?)"
_NO_ANSWER = "does not answer (stopped, or cut off?)"
_ASKED_EACH_TIMEOUT = 5  # times that a worker is asked in the time in which it has to answer
_PAUSE_SECONDS = 0.1  # before a worker that refuses, or doesn't answer, is asked again
_REFUSALS = 3  # one after the other, that show that nothing listens
_LONGEST_QUESTION_SECONDS = 2 * ANSWER_SECONDS + 0.5  # to connect and to be greeted
_LOOKING_SECONDS = 1.5  # a process that is killed may close its other connections first


class Peers:
    """The other workers, as far as this one has to watch them.

    Args:
        cluster: who watches whom.
        timeout_seconds: how long a worker may be silent.
        on_lost: gets the rank of a worker that is lost and what has become of it, once a worker,
            in a thread of its own.
    """

    def __init__(
        self, cluster: Cluster, timeout_seconds: float, on_lost: Callable[[int, str], None]
    ) -> None:
        self._cluster = cluster
        self._timeout_seconds = timeout_seconds
        self._interval_seconds = timeout_seconds / _ASKED_EACH_TIMEOUT
        self._on_lost = on_lost
        others = (rank for rank in range(cluster.num_workers) if rank != cluster.index)
        self._others = tuple(others)
        self._watched = self._others if cluster.is_chief else (0,)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = threading.Event()

    def watch(self) -> None:
        """Begins to watch."""
        threading.Thread(target=asyncio.run, args=(self._run(),), name="peers", daemon=True).start()

    def stop(self) -> None:
        """Watches nobody any more: from now on workers may end."""
        self._stopped.set()

    def lost(self) -> dict[int, str]:
        """Which workers don't run, of all, and what has become of them; asked now.

        Takes as long as it takes to find one, and at most about two seconds.
        """
        return run_apart(self._find_lost)

    def is_running(self, rank: int) -> bool:
        """Whether a worker answers now."""
        return run_apart(lambda: is_answering(self._cluster.addresses[rank]))

    async def _run(self) -> None:
        watching = [asyncio.create_task(self._watch(rank)) for rank in self._watched]
        while not self._stopped.is_set():
            await asyncio.sleep(_PAUSE_SECONDS)
        for task in watching:
            task.cancel()

    async def _watch(self, rank: int) -> None:
        """Returns when a worker is lost, which has been told then."""
        with contextlib.ExitStack() as links:
            why = await self._fate_in_time_of(rank, links)
        if not self._stopped.is_set():
            await asyncio.to_thread(self._on_lost, rank, why)

    async def _fate_in_time_of(self, rank: int, links: contextlib.ExitStack) -> str:
        """What has become of a worker, once it is lost; `links` keeps the newest link to it."""
        link: Link | None = None
        silent, refusals, paused = 0.0, 0, 0.0
        while True:
            patience = min(ANSWER_SECONDS, max(self._timeout_seconds - silent, _PAUSE_SECONDS))
            asked = time.monotonic()
            try:
                link = await _connect(self._cluster.addresses[rank], patience)
            except Unreachable as error:
                is_there = False
                refusals = refusals + 1 if error.is_refused else 0
                silent += paused + _without_own_delay(time.monotonic() - asked)
                if link is None:
                    silent, refusals = 0.0, 0  # who was never there is not accused
            else:
                is_there, silent, refusals = True, 0.0, 0
                links.close()
                links.enter_context(link)
            if refusals >= _REFUSALS:
                return ENDED
            if silent >= self._timeout_seconds:
                return _SILENT.format(seconds=silent)
            pause = self._interval_seconds if is_there else _PAUSE_SECONDS
            paused = min(pause, await _end_of(link, pause))

    async def _find_lost(self) -> dict[int, str]:
        deadline = time.monotonic() + _LOOKING_SECONDS
        while True:
            found = await asyncio.gather(*map(self._fate_of, self._others))
            lost = {rank: why for rank, why in zip(self._others, found, strict=True) if why}
            if lost or time.monotonic() >= deadline:
                return lost
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _fate_of(self, rank: int) -> str:
        """What has become of a worker that doesn't run; "" for one that does."""
        try:
            with await _connect(self._cluster.addresses[rank], ANSWER_SECONDS):
                return ""
        except Unreachable as error:
            return ENDED if error.is_refused else _NO_ANSWER


def explain(cluster: Cluster, lost: Mapping[int, str], timeout_seconds: float) -> str:
    """Why this worker ends, in one line, from the workers that are lost and their fates."""
    told = ", ".join(f"{cluster.named(rank)} {lost[rank]}" for rank in sorted(lost))
    limit = f"; --heartbeat_timeout={timeout_seconds:g} sets the limit"
    if ENDED in lost.values():
        limit = ""
    return (
        f"W{told[1:]}; expected all workers to run until the end{limit}. Look at that worker's log "
        "and machine, then start all workers again."
    )


def told_of_a_cut(cluster: Cluster) -> str:
    """Why this worker ends, in one line, where a connection has ended and no worker has."""
    return (
        "A connection between workers was cut off, though all of them run; expected it to hold "
        f"until the end. Look at the network between {', '.join(cluster.addresses)}, then start "
        "all workers again."
    )


def _without_own_delay(seconds: float) -> float:
    """What a question without an answer took; 0 if this process was held up itself meanwhile."""
    return seconds if seconds <= _LONGEST_QUESTION_SECONDS else 0.0


async def _connect(address: str, timeout_seconds: float) -> Link:
    """A connection on which a gRPC server has greeted.

    Raises:
        Unreachable: there is none.
    """
    link = await connect(address, timeout_seconds)
    try:
        if is_grpc(await link.first_words(timeout_seconds)):
            return link
    except asyncio.CancelledError:
        link.close()
        raise
    link.close()
    raise Unreachable("no greeting")


async def _end_of(link: Link | None, timeout_seconds: float) -> float:
    """Returns when the other side has closed the connection, or the time is over.

    Returns:
        How many seconds that took.
    """
    began = time.monotonic()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_seconds):
            with contextlib.suppress(OSError):
                while link is not None and await link.reader.read(4096):
                    pass
            # A connection that has ended is no reason to ask in a hurry for ever.
            await asyncio.sleep(_PAUSE_SECONDS if link is not None else timeout_seconds)
    return time.monotonic() - began
