"""Processes of a benchmark that belong together, each of which answers with lines of JSON."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tfscale.process.cores import share_of_cores

_ROOT = Path(__file__).resolve().parents[2]
_REAP_SECONDS = 5.0
_POLL_SECONDS = 0.01
_LOG_LINES = 15
_LOG_BYTES = 65_536

_Lines = queue.Queue[tuple[int, bytes]]  # number of the process and its line; empty at its end


class BenchmarkError(RuntimeError):
    """A worker of a benchmark ended or didn't answer; the end of its log is in the message."""


def on_own_cores(workers: int, index: int) -> list[str]:
    """A command that runs a worker which trains alone on the cores that it has as one of several.

    Without it, workers that train together would be compared with others that have more cores.

    Args:
        workers: that are measured at the same time.
        index: of this one.
    """
    cores = ",".join(str(core) for core in sorted(share_of_cores(workers, index)))
    return ["taskset", "--cpu-list", cores]


class Processes:
    """Started one by one, asked together, ended together whatever happens."""

    def __init__(self) -> None:
        """Starts none yet."""
        self._lines: _Lines = queue.Queue()
        self._all: list[_Process] = []
        self._ended: set[int] = set()

    def start(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        prefix: Sequence[str] = (),
    ) -> None:
        """Starts one more Python process of this project.

        Args:
            name: for messages.
            arguments: of the interpreter.
            prefix: a command that runs it.
        """
        command = [*prefix, sys.executable, *arguments]
        self._all.append(_Process(name, len(self._all), command, self._lines))

    def order(self, text: str) -> None:
        """Writes a line to each one's standard input.

        Raises:
            BenchmarkError: one has ended.
        """
        for process in self._all:
            process.order(text)

    def answers(self, timeout_seconds: float) -> list[dict[str, Any]]:
        """One answer of each; whoever ends first is named, others may only wait for it.

        Raises:
            BenchmarkError: one ended without an answer, or took too long.
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
                found[number] = json.loads(line)
            else:
                self._ended.add(number)
        return [found[number] for number in range(len(self._all))]

    def finish(self, timeout_seconds: float) -> None:
        """Waits until all have ended by themselves.

        Raises:
            BenchmarkError: one failed, or took too long.
        """
        deadline = time.monotonic() + timeout_seconds
        for process in self._all:
            code = process.exit_code(deadline)
            if code is None:
                raise process.failed("did not end in time")
            if code:
                raise process.failed(f"ended with code {code}")

    def __enter__(self) -> "Processes":
        """Gives itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends all processes."""
        self.end()

    def end(self) -> None:
        """Ends all processes; TensorFlow's workers don't end by a gentler signal than this."""
        for process in self._all:
            process.kill()
        for process in self._all:
            process.reap()


class _Process:
    """Is not waited for before its group was killed: its number could be another's by then."""

    def __init__(self, name: str, number: int, command: Sequence[str], lines: _Lines) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._name = name
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this project's own module
                command,
                cwd=_ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                bufsize=0,  # an order must not be left over in a buffer
                start_new_session=True,
            )
        except BaseException:
            self._log.close()
            raise
        self._listener = threading.Thread(target=self._listen, args=(number, lines), daemon=True)
        self._listener.start()

    def _listen(self, number: int, lines: _Lines) -> None:
        for line in self._process.stdout or ():
            lines.put((number, line))
        lines.put((number, b""))

    def order(self, text: str) -> None:
        if self._process.stdin is None:
            raise self.failed("takes no orders")
        try:
            self._process.stdin.write(text.encode() + b"\n")
        except OSError:
            raise self.failed("ended") from None

    def exit_code(self, deadline: float) -> int | None:
        while time.monotonic() < deadline:
            # WNOWAIT: looks, and leaves its number taken.
            how = os.WEXITED | os.WNOWAIT | os.WNOHANG
            found = os.waitid(os.P_PID, self._process.pid, how)
            if found is not None:
                return found.si_status
            time.sleep(_POLL_SECONDS)
        return None

    def failed(self, what: str) -> BenchmarkError:
        # Without moving the place in the file, which the process shares.
        size = os.fstat(self._log.fileno()).st_size
        text = os.pread(self._log.fileno(), _LOG_BYTES, max(0, size - _LOG_BYTES))
        tail = "\n".join(text.decode(errors="replace").splitlines()[-_LOG_LINES:])
        return BenchmarkError(f"{self._name} {what}. The end of its log:\n{tail}")

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # what it started too

    def reap(self) -> None:
        with self._process:  # waits, and closes its pipes
            self._listener.join(_REAP_SECONDS)
        self._log.close()
