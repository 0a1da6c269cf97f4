"""Processes that take orders, a line each, and answer each with a line of JSON: both ends.

`Workers` are the processes for whoever asks them, each a module that keeps its output for
`answering` and has its orders from `listening`.
"""

import contextlib
import json
import os
import queue
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tfscale.errors import WorkerError
from tfscale.process.exit import leave
from tfscale.structures import Foreign
from tfscale.supervise.gang import Gang, Member, Streams
from tfscale.supervise.lines import Lines

_ROOT = Path(__file__).resolve().parents[2]  # where Python finds the modules
_LOG_LINES = 15
_LOG_BYTES = 65_536


def answering() -> Callable[..., None]:
    """Keeps the standard output for answers; gives what writes one, by names."""
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not be taken for an answer

    def answer(**values: Foreign) -> None:
        lines.write(json.dumps(values) + "\n")
        lines.flush()

    return answer


def listening() -> Iterator[str]:
    """The orders, as they come.

    The process leaves at the end of its input, even while it waits for others, so that none
    outlives who asked.
    """
    orders: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()
    return iter(orders.get, "")  # which no line is


def _listen(orders: "queue.Queue[str]") -> None:
    # Not `sys.stdin`, whose lock this thread would hold: a process that is forked meanwhile closes
    # it first of all, and would wait for ever.
    with os.fdopen(os.dup(0)) as lines:
        for line in lines:
            orders.put(line)
    leave(0)


class Workers(contextlib.AbstractContextManager["Workers"]):
    """Started one by one, asked together, ended together whatever happens.

    What a worker writes to its standard error is kept, and its end is in the error of a worker
    that ended or didn't answer.

    Args:
        commands: name for messages, and program with arguments, of each; asked for the next when
            the one before has been started.
    """

    def __init__(self, commands: Iterable[tuple[str, Sequence[str]]]) -> None:
        """Starts all of them, or none: whatever goes wrong, those before are ended."""
        self._lines: queue.Queue[tuple[int, str]] = queue.Queue()  # number, line; empty at its end
        self._all: list[_Worker] = []
        self._ended: set[int] = set()
        self._logs = contextlib.ExitStack()
        self._gang = Gang()
        try:
            for name, command in commands:
                self._start(name, command)
        except BaseException:
            self.end()
            raise

    def _start(self, name: str, command: Sequence[str]) -> None:
        number = len(self._all)
        log = self._logs.enter_context(tempfile.TemporaryFile())
        streams = Streams(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        member = self._gang.start(command, folder=_ROOT, streams=streams)
        if member.stdout is not None:
            lines = Lines(member.stdout, lambda line: self._lines.put((number, line)))
            self._all.append(_Worker(name, member, log, lines))

    def order(self, text: str) -> None:
        """Writes a line to each one's standard input.

        Raises:
            WorkerError: one has ended.
        """
        for worker in self._all:
            worker.order(text)

    def answers(self, timeout_seconds: float) -> list[dict[str, Any]]:
        """One answer of each; whoever ends first is named, others may only wait for it.

        Raises:
            WorkerError: one ended without an answer, wrote something else, or took too long.
        """
        deadline = time.monotonic() + timeout_seconds
        found: dict[int, dict[str, Any]] = {}
        while len(found) < len(self._all):
            for number in self._ended - set(found):
                raise self._all[number].failed("ended")
            try:
                number, line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                silent = next(n for n in range(len(self._all)) if n not in found)
                raise self._all[silent].failed("did not answer in time") from None
            if line:
                found[number] = self._all[number].answer(line)
            else:
                self._ended.add(number)
        return [found[number] for number in range(len(self._all))]

    def finish(self, timeout_seconds: float) -> None:
        """Waits until all have ended by themselves.

        Raises:
            WorkerError: one failed, or took too long.
        """
        deadline = time.monotonic() + timeout_seconds
        for worker in self._all:
            code = worker.member.wait(deadline)
            if code is None:
                raise worker.failed("did not end in time")
            if code:
                how = f"with code {code}" if code > 0 else f"by signal {-code}"
                raise worker.failed(f"ended {how}")

    def end(self) -> None:
        """Ends all workers."""
        self._gang.end()
        for worker in self._all:
            worker.lines.join()
        self._logs.close()

    def __exit__(self, *error: object) -> None:
        """Ends all workers."""
        self.end()


@dataclass(frozen=True)
class _Worker:
    """A member of the gang with its name, what it wrote to its standard error, and its answers."""

    name: str
    member: Member
    log: IO[bytes]
    lines: Lines

    def order(self, text: str) -> None:
        try:
            if self.member.stdin is not None:
                self.member.stdin.write(text.encode() + b"\n")
        except (OSError, ValueError):  # the pipe has nobody left, or is closed because of that
            raise self.failed("ended") from None

    def answer(self, line: str) -> dict[str, Any]:
        try:
            return dict(json.loads(line))
        except (ValueError, TypeError):
            raise self.failed(f"wrote {line[:80]!r}, which is no answer") from None

    def failed(self, what: str) -> WorkerError:
        # Without moving the place in the file, which the process shares.
        size = os.fstat(self.log.fileno()).st_size
        text = os.pread(self.log.fileno(), _LOG_BYTES, max(0, size - _LOG_BYTES))
        tail = "\n".join(text.decode(errors="replace").splitlines()[-_LOG_LINES:])
        return WorkerError(f"{self.name} {what}", tail)
