"""Workers that take orders, a line each, and answer each with a line of JSON."""

import contextlib
import json
import os
import queue
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from tfscale.errors import WorkerError
from tfscale.supervise.gang import Gang, Member, Streams
from tfscale.supervise.lines import Lines

_LOG_LINES = 15
_LOG_BYTES = 65_536


class Workers:
    """Started one by one, asked together, ended together whatever happens.

    What a worker writes to its standard error is kept, and its end is in the error of a worker
    that ended or didn't answer.

    Args:
        folder: where all of them run.
    """

    def __init__(self, folder: Path) -> None:
        """Starts none yet; whoever doesn't enter the context calls `end`."""
        self._folder = folder
        self._lines: queue.Queue[tuple[int, str]] = queue.Queue()  # number, line; empty at its end
        self._all: list[_Worker] = []
        self._ended: set[int] = set()
        self._logs = contextlib.ExitStack()
        self._gang = Gang()

    def start(self, name: str, command: Sequence[str]) -> None:
        """Starts one more worker.

        Args:
            name: for messages.
            command: program and arguments.

        Raises:
            OSError: it can't be started.
        """
        number = len(self._all)
        log = self._logs.enter_context(tempfile.TemporaryFile())
        streams = Streams(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        member = self._gang.start(command, folder=self._folder, streams=streams)
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

    def __enter__(self) -> "Workers":
        """Gives itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
