"""Where the lines of one worker among several go: to the terminal and to its log."""

import contextlib
import sys
from pathlib import Path
from typing import IO

from tfscale.supervise.lines import Lines


def echo(text: str) -> None:
    """Writes to the terminal; a reader that is gone (`| head`) must not stop the training."""
    with contextlib.suppress(OSError, ValueError):
        # One write a line, so that the lines of different threads stay whole.
        sys.stdout.write(text)
        sys.stdout.flush()


class Echo:
    """Shows each line of a worker with `[index] ` in front and appends it to the worker's log.

    A launcher that made RUN_DIR, or wrote into one that the workers are about to check or to
    overwrite, would be in their way. So lines wait in memory until a worker has made it; where it
    was there before, they wait until the worker has ended.

    Args:
        index: of the worker.
        run_dir: gets `logs/launch-INDEX.log`; None for no log.
    """

    def __init__(self, index: int, run_dir: Path | None) -> None:
        """Looks whether RUN_DIR is there, so it is made before the first worker starts."""
        self._prefix = f"[{index}] "
        self._path = run_dir / "logs" / f"launch-{index}.log" if run_dir else None
        self._wait_for_end = run_dir is not None and run_dir.exists()
        self._waiting: list[str] = []
        self._lines: Lines | None = None

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
        echo(self._prefix + text.rstrip("\n") + "\n")
        self._waiting.append(text)
        if not self._wait_for_end:
            self._file()

    def _file(self) -> None:
        """Appends the lines that wait, if RUN_DIR is there."""
        if self._path is None:
            self._waiting.clear()
            return
        # A full disk must not stop the training; what does not fit was echoed.
        with contextlib.suppress(OSError):
            if self._path.parent.parent.is_dir():
                self._path.parent.mkdir(exist_ok=True)
                lines, self._waiting = self._waiting, []
                with self._path.open("a", encoding="utf-8") as file:
                    file.writelines(lines)
