"""TensorBoard's files of a run, which may fail at any time and never end the training.

TensorFlow writes them from operations of its own. Some of what goes wrong they raise, at once or
with a later flush, some they only log, and into a file that was deleted they go on to write without
a word. So it is looked after at every boundary whether each file is still there, and after any
failure all writers are given up: the next boundary begins new files, in a folder made again.
"""

import contextlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import tensorflow as tf

from tfscale.errors import one_line
from tfscale.structures import Foreign


class CurveFiles:
    """Writes points and texts; never raises, and complains once about the first failure.

    Args:
        folder: TensorBoard's.
        make_again: makes the folder above it, where somebody has removed that; may raise OSError.
        complain: gets the line.
    """

    def __init__(
        self,
        folder: Path,
        make_again: Callable[[], None] = lambda: None,
        complain: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._folder = folder
        self._make_again = make_again
        self._complain = complain
        self._has_complained = False
        self._texts: dict[tuple[str, str], str] = {}
        self._writers: dict[str, Foreign] = {}
        self._files: dict[str, tuple[Path, tuple[int, int]]] = {}

    def text(self, run: str, name: str, text: str) -> None:
        """A text at step 0, also of files that are begun later."""
        self._texts[run, name] = text
        self._attempt(lambda: self._writer(run))

    def write(self, run: str, points: Mapping[str, float], step: int) -> None:
        """A point of each curve."""
        if points:
            self._attempt(lambda: self._write(run, points, step))

    def flush(self) -> None:
        """Brings everything to disk that waits in memory, and sees whether it got there."""
        self._attempt(self._flush)

    def close(self) -> None:
        """Flushes and closes the files; the next point begins new ones."""
        self._attempt(self._flush)
        self._give_up()

    def _write(self, run: str, points: Mapping[str, float], step: int) -> None:
        with self._writer(run).as_default():
            for name, value in points.items():
                tf.summary.scalar(name, value, step=step)

    def _flush(self) -> None:
        for writer in self._writers.values():
            writer.flush()
        for path, identity in self._files.values():
            _require_same(path, identity)

    def _writer(self, run: str) -> Foreign:
        """The writer of a run, whose file is where it was made."""
        if run in self._files:
            _require_same(*self._files[run])
        if run not in self._writers:
            self._make_again()
            folder = self._folder / run
            folder.mkdir(parents=True, exist_ok=True)
            before = set(folder.iterdir())
            self._writers[run] = tf.summary.create_file_writer(str(folder))
            with self._writers[run].as_default():
                for (of, name), text in self._texts.items():
                    if of == run:
                        tf.summary.text(name, text, step=0)
            self._writers[run].flush()  # that the file is there
            for made in set(folder.iterdir()) - before:
                self._files[run] = made, _identity(made)
        return self._writers[run]

    def _attempt(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:  # whatever an operation raises
            self._give_up()
            if not self._has_complained:
                self._has_complained = True
                self._complain(
                    f"Curves in {self._folder} are incomplete: {_told(error)}. Training goes on, "
                    "and writes on as soon as it can."
                )

    def _give_up(self) -> None:
        for writer in self._writers.values():
            # What it still holds can't be written either; one after the other, or some stay open.
            with contextlib.suppress(Exception):
                writer.close()
        self._writers.clear()
        self._files.clear()


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _require_same(path: Path, identity: tuple[int, int]) -> None:
    """Raises OSError where a file isn't the one that it was."""
    if _identity(path) != identity:
        raise FileNotFoundError(2, "Somebody has replaced the file", str(path))


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}, {error.filename}" if error.filename else error.strerror
    if isinstance(error, tf.errors.OpError):
        # Without the operation, and what follows from the first thing that went wrong.
        return re.sub(r"\{\{.*?\}\} ", "", error.message).partition("\n")[0]
    return one_line(error)
