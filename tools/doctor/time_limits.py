"""Questions that may never be answered: each has a time limit, and nobody waits beyond it."""

import contextlib
import enum
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

_T = TypeVar("_T")
_GONE_SECONDS = 1.0  # in which what was killed should be gone


class Status(enum.StrEnum):
    """What became of a command."""

    DONE = "done"
    FAILED = "failed"
    MISSING = "missing"  # there is no such program
    HANGS = "hangs"


@dataclass(frozen=True)
class Answer:
    """What a command has said.

    Args:
        status: what became of it.
        text: its output, the errors too.
    """

    status: Status
    text: str = ""


def ask(command: Sequence[str], seconds: float, environ: Mapping[str, str]) -> Answer:
    """Runs a command, and kills it with all that it has started when its time is over.

    One that a driver holds can't be killed: it is left behind, whatever becomes of it.

    Args:
        command: program, found on the PATH of `environ`, and arguments; no shell reads them.
        seconds: that it may take.
        environ: its environment.
    """
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(  # noqa: S603 - commands that are written in this package
                list(command),
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError:
            return Answer(Status.MISSING)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GONE_SECONDS)
            return Answer(Status.HANGS)
        output.seek(0)
        text = output.read().decode(errors="replace")
    return Answer(Status.FAILED if code else Status.DONE, text)


class Background(Generic[_T]):
    """Work in a thread of its own, which is left behind where it doesn't end.

    A file system that hangs holds whoever asks it, in the kernel.

    Args:
        work: what is done; begins at once.
    """

    def __init__(self, work: Callable[[], _T]) -> None:
        self._found: list[_T] = []
        self._errors: list[Exception] = []
        self._thread = threading.Thread(target=self._do, args=(work,), daemon=True)
        self._thread.start()

    def result(self, seconds: float, otherwise: _T) -> _T:
        """What the work gives; `otherwise` if that takes longer, or the system refuses it.

        Raises:
            Exception: any other that the work raises.
        """
        self._thread.join(max(0.0, seconds))
        if self._errors and not isinstance(self._errors[0], OSError):
            raise self._errors[0]
        return self._found[0] if self._found else otherwise

    def _do(self, work: Callable[[], _T]) -> None:
        try:
            self._found.append(work())
        except Exception as error:
            self._errors.append(error)


def within(seconds: float, work: Callable[[], _T], otherwise: _T) -> _T:
    """What the work gives, as of `Background.result`."""
    return Background(work).result(seconds, otherwise)


def all_within(seconds: float, works: Sequence[Callable[[], _T]], otherwise: _T) -> list[_T]:
    """What each work gives; they are done at the same time."""
    deadline = time.monotonic() + seconds
    started = [Background(work) for work in works]
    return [each.result(deadline - time.monotonic(), otherwise) for each in started]
