"""What a run says to the person in front of it, and where everything else that is written goes.

TensorFlow writes hundreds of lines to the standard error before the first step. They belong in
the worker's log file; the terminal gets what a person needs. The file descriptor itself is
redirected, because C++ knows nothing of `sys.stderr`.
"""

import contextlib
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from tfscale.process.exit import kept
from tfscale.process.printable import printable


def _is_terminal() -> bool:
    """Whether somebody sits in front of the output; a notebook's need not know, or be there."""
    try:
        return bool(sys.stdout.isatty())
    except (AttributeError, ValueError):
        return False


def silence(text: str) -> None:
    """Says nothing: what a run from Python does unless it is told otherwise."""


class Terminal:
    """Where a worker's words go: `show` for progress, `complain` for the reason of an end.

    Args:
        show: gets each text for the reader; `print` in a program.
        progress: whether the run's progress is shown: as Keras's bar, or where nobody sits in
            front of the output as lines.
    """

    def __init__(self, show: Callable[[str], None] = silence, *, progress: bool = False) -> None:
        """Starts without a log file; `captured` gives one."""
        self._show = show
        self._progress = progress
        self.log_path: Path | None = None
        self._stderr: int | None = None
        self._early: BinaryIO | None = None  # the temporary log, once there is another

    def show(self, text: str) -> None:
        """Says something to the reader, who has it at once.

        Output to a file or a pipe is kept in a buffer, in which a plan would lie for the whole run.
        A reader who is gone (`| head`), or a full disk under a log, must not end a training.
        """
        with contextlib.suppress(OSError, ValueError):
            self._show(printable(text))
        with contextlib.suppress(OSError, ValueError, AttributeError):  # a notebook's may be None
            sys.stdout.flush()

    @property
    def verbosity(self) -> int:
        """Keras's `verbose`: 1 for its bar on a terminal, 0 for nothing."""
        return int(self._progress and _is_terminal())

    @property
    def wants_lines(self) -> bool:
        """Whether progress is to be told in lines."""
        return self._progress and not _is_terminal()

    def silenced(self) -> "Terminal":
        """The terminal of a worker that is not the chief: it only complains."""
        self._show, self._progress = silence, False
        return self

    def complain(self, text: str) -> None:
        """Says one line on the real standard error, wherever that has been redirected to."""
        line = f"{printable(text)}\n".encode(errors="replace")
        with contextlib.suppress(OSError):
            os.write(self.descriptor, line)

    @property
    def descriptor(self) -> int:
        """The real standard error, for who can't ask this object to write."""
        return 2 if self._stderr is None else self._stderr

    @contextlib.contextmanager
    def captured(self) -> Iterator[None]:
        """Sends the standard error, TensorFlow's too, to a log file while the context lasts.

        It is a temporary file until `file_log` knows the run directory.
        """
        descriptor, name = tempfile.mkstemp(prefix="tfscale-", suffix=".log")
        self.log_path = Path(name)
        self._stderr = os.dup(2)
        os.dup2(descriptor, 2)
        os.close(descriptor)
        before, sys.stderr = (
            sys.stderr,
            _Forgiving(
                # No buffer: what failed must not be tried again and again.
                io.FileIO(2, "w", closefd=False),
                "utf-8",
                errors="backslashreplace",
                write_through=True,
            ),
        )
        try:
            yield
        finally:
            self._add_late_words()
            if self._early is not None:
                self._early.close()
                self._early = None
            with contextlib.suppress(OSError, ValueError, AttributeError):  # None if it was closed
                before.flush()
            sys.stderr = before
            os.dup2(self._stderr, 2)
            os.close(self._stderr)
            self._stderr = None

    def kept_log(self) -> Path | None:
        """The log file, in a place where it stays when this process has ended.

        Where somebody has removed it, what this process still holds of it is written anew.
        """
        self._add_late_words()
        is_open = self._stderr is not None
        if is_open and self.log_path is not None and not self.log_path.exists():
            with contextlib.suppress(OSError):
                self.log_path = _write_anew()
        if self.log_path is not None:
            self.log_path = kept(self.log_path)
        return self.log_path

    def file_log(self, path: Path) -> None:
        """Goes on with the log in `path`, after what is there; without one if it can't be had."""
        if self._stderr is None or self.log_path is None:
            return
        temporary = self.log_path
        sys.stderr.flush()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a+b", buffering=0) as log, contextlib.ExitStack() as opened:
                early = opened.enter_context(temporary.open("rb"))
                shutil.copyfileobj(early, log)
                os.dup2(log.fileno(), 2)
                opened.pop_all()
        except (OSError, io.UnsupportedOperation) as error:
            # A log is never worth a run: on a node that doesn't share the folder it stays here.
            self.complain(f"The log stays in {temporary}: {error}")
            return
        self.log_path, self._early = path, early
        temporary.unlink(missing_ok=True)

    def _add_late_words(self) -> None:
        """Adds what processes that were started before `file_log` have written since."""
        if self._early is not None and self._stderr is not None:
            with contextlib.suppress(OSError), io.FileIO(2, "w", closefd=False) as log:
                shutil.copyfileobj(self._early, log)


class _Forgiving(io.TextIOWrapper):
    """A standard error whose writer doesn't learn that the disk under the log is full."""

    def write(self, text: str) -> int:
        """Writes at once, if it can."""
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Has nothing to do: nothing is held back."""


def _write_anew() -> Path:
    """A temporary file with what was written to the standard error, whose own file is gone."""
    descriptor, name = tempfile.mkstemp(prefix="tfscale-", suffix=".log")
    with open(descriptor, "wb") as file:
        size = os.fstat(2).st_size
        file.write(os.pread(2, size, 0))
    return Path(name)
