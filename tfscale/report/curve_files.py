"""TensorBoard's files of a run, which may fail at any time and never end the training.

TensorFlow writes them from operations of its own. Some of what goes wrong they raise, at once or
with a later flush, some they only log, and into a file that was deleted they go on to write without
a word. So it is looked after at every boundary whether each file is still there, and after any
failure all writers are given up: the next boundary begins new files, in a folder made again.
"""

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import tensorflow as tf

from tfscale.errors import one_line
from tfscale.files import atomic
from tfscale.structures import Foreign

_OWN_RUNS = re.compile(r"train|validation|workers/worker-\d+")


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
        self._last: dict[str, int] = {}  # step of the last point of each run

    def text(self, run: str, name: str, text: str) -> None:
        """A text at step 0, also of files that are begun later."""
        self._texts[run, name] = text
        self._attempt(lambda: self._writer(run))

    def write(self, run: str, points: Mapping[str, float], step: int) -> None:
        """A point of each curve."""
        if points:
            self._attempt(lambda: self._write(run, points, step))
            self._last[run] = step

    @property
    def last_steps(self) -> dict[str, int]:
        """The step of the last point of each run, all of which are on disk now."""
        self.flush()
        return dict(self._last)

    def cut_back(self, last_steps: Mapping[str, int]) -> None:
        """Takes away what an earlier start has written behind these steps: they come again.

        Where this start has written points, nothing is done.

        Args:
            last_steps: as the property said then.
        """
        if not self._last:  # of a start that only looks back all points are right
            self.close()
            self._last = dict(last_steps)
            self._attempt(lambda: _cut_back(self._folder, last_steps))

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


def _cut_back(folder: Path, last_steps: Mapping[str, int]) -> None:
    for path in sorted(folder.rglob("*.tfevents.*")):
        run = path.parent.relative_to(folder).as_posix()
        if not _OWN_RUNS.fullmatch(run):
            continue  # what somebody else writes beside them
        last = last_steps.get(run, 0)
        # Texts stand at step 0, and every start writes them.
        cut_events(path, lambda tag, step, last=last: 0 < step <= last)  # type: ignore[misc]


def cut_back_callbacks(
    callbacks: Sequence[keras.callbacks.Callback], epoch: int, step: int
) -> None:
    """Takes away what Keras's TensorBoard has written of epochs and steps that come again.

    Args:
        callbacks: the user's.
        epoch: the first one that comes, from 0.
        step: training steps before the checkpoint.
    """

    def is_wanted(tag: str, at: int) -> bool:
        return at < epoch if tag.startswith("epoch_") else at <= step

    for callback in callbacks:
        if isinstance(callback, keras.callbacks.TensorBoard):
            for path in sorted(Path(callback.log_dir).rglob("*.tfevents.*")):
                with contextlib.suppress(OSError):
                    cut_events(path, is_wanted)


def cut_events(path: Path, is_wanted: Callable[[str, int], bool]) -> None:
    """Leaves of a file of TensorBoard's the points that are wanted, or nothing if that is none.

    Args:
        path: of the file, which nobody writes to.
        is_wanted: of the tag and the step of a point.

    Raises:
        OSError: it can't be written.
    """
    kept, dropped, has_points = [], False, False
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            tags = [value.tag for value in event.summary.value]
            if all(is_wanted(tag, event.step) for tag in tags):
                kept.append(record)
                has_points = has_points or bool(tags)
            else:
                dropped = True
    except tf.errors.DataLossError:
        dropped = True  # a kill has left a half of the last one
    if not has_points:
        path.unlink()
    elif dropped:
        with atomic.replacing(path) as temporary, tf.io.TFRecordWriter(str(temporary)) as writer:
            for record in kept:
                writer.write(record)


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
