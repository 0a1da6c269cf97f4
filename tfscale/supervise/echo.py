"""Where the lines of one worker go: to the terminal and, of several workers, to its log."""

import contextlib
import sys
from pathlib import Path
from typing import IO, TextIO

from tfscale.files.run_directory import LOGS
from tfscale.supervise.lines import Lines


def echo(text: str, stream: TextIO | None = None) -> None:
    """Writes to the terminal; a reader that is gone (`| head`) must not stop the training.

    Args:
        text: with its end of line.
        stream: the standard output if None.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        # One write a line, so that the lines of different threads stay whole.
        stream = stream or sys.stdout
        stream.write(text)
        stream.flush()


class Echo:
    """Shows each line of a worker, and files it for one among several.

    The lines of several get `[index] ` in front and are appended to each worker's log. A launcher
    that made RUN_DIR, or wrote into one that the workers are about to check or to overwrite, would
    be in their way. So lines wait in memory until a worker has made its logs, or has ended.

    Args:
        index: of the worker; None for one alone, whose standard error is read and goes to the
            standard error as it is.
        run_dir: gets `logs/launch-INDEX.log`; None for no log.
    """

    def __init__(self, index: int | None, run_dir: Path | None = None) -> None:
        self._index = index
        logs = run_dir / LOGS if run_dir and index is not None else None
        self._path = logs / f"launch-{index}.log" if logs else None
        self._waiting: list[str] = []
        self._lines: Lines | None = None
        self.last_line = ""

    def read(self, pipe: IO[bytes]) -> None:
        """Takes the lines from a pipe, until it ends."""
        self._lines = Lines(pipe, self._line)

    def close(self) -> None:
        """Waits for the last lines of a worker that has ended, and files what isn't yet."""
        if self._lines is not None:
            self._lines.join()
        self._file()

    def _line(self, text: str) -> None:
        if not text:
            return
        line = text.rstrip("\n")
        self.last_line = line.strip() or self.last_line
        if self._index is None:
            echo(f"{line}\n", sys.stderr)
            return
        echo(f"[{self._index}] {line}\n")
        self._waiting.append(text)
        if self._path is None or self._path.parent.is_dir():
            self._file()

    def _file(self) -> None:
        """Appends the lines that wait, if RUN_DIR is there."""
        if self._path is None or not self._waiting:
            self._waiting.clear()
            return
        # A full disk must not stop the training; what does not fit was echoed.
        with contextlib.suppress(OSError):
            if self._path.parent.parent.is_dir():
                self._path.parent.mkdir(exist_ok=True)
                lines, self._waiting = self._waiting, []
                with self._path.open("a", encoding="utf-8") as file:
                    file.writelines(lines)
