"""Ends this process, and takes its temporary files with it.

TensorFlow's threads may wait for each other when Python takes a process apart, and a worker that
another one's failure ends is blocked in a collective: such a process ends at once. One that has
done its work first does what Python does at an exit, for so long: threads that still upload are
waited for, and what was registered with `atexit` is called.
"""

import atexit
import contextlib
import multiprocessing
import multiprocessing.util  # whose farewell, which waits for processes, is registered before ours
import os
import shutil
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from tfscale.errors import End
from tfscale.process.patience import do_within
from tfscale.process.temporary import own_folder, remove_left_behind

_PATIENCE_SECONDS = 2.0
_EXIT_SECONDS = 60.0
_own: list[Path] = []
_last: list[Callable[[], None]] = []
_records: list[Path] = []
_leaving: list[int] = []  # the thread that ends the process, once one does
_over: list[bool] = []  # whether the work is done, and Python's own exit has begun


def _let_only_who_leaves_fork() -> None:
    """A pool replaces its processes as they end, and must not while this one ends them."""
    if _leaving and _leaving[0] != threading.get_ident():
        threading.Event().wait()


os.register_at_fork(before=_let_only_who_leaves_fork)
# They are the parent's to remove, to do and to write.
for _ones in (_own, _last, _records, _leaving, _over):
    os.register_at_fork(after_in_child=_ones.clear)


def use_own_temporary_folder() -> None:
    """Makes everything that asks Python for a temporary file get it in a folder of this process.

    Whatever processes that were killed have left behind is removed by whoever comes next.
    """
    remove_left_behind()
    _own.append(own_folder())
    tempfile.tempdir = str(_own[-1])


def ends_with_the_run() -> bool:
    """Whether this process is a program, which ends by `leave` when its run does."""
    return bool(_own)


def kept(path: Path) -> Path:
    """Where a file can be read when this process has ended; a temporary one is moved there."""
    if not _own or _own[-1] not in path.parents:
        return path
    return Path(shutil.move(path, _own[-1].parent / f"{_own[-1].name}{path.suffix}"))


def lasting_folder() -> Path:
    """A new folder for temporary files, of this user alone, that stays when this process has ended.

    Raises:
        OSError: none can be made.
    """
    return Path(tempfile.mkdtemp(prefix="tfscale-kept-", dir=_own[-1].parent if _own else None))


@contextlib.contextmanager
def do_on_leaving(work: Callable[[], None]) -> Iterator[None]:
    """In the body, `leave` does the work as the last thing that it does, from any thread."""
    _last.append(work)
    try:
        yield
    finally:
        _last.remove(work)


def record_end_in(path: Path | None) -> None:
    """From now on `record_end` writes there, if a supervisor reads it when this process has ended.

    Args:
        path: of a file; None if nobody asks.
    """
    _records[:] = [path] if path else []


def has_supervisor() -> bool:
    """Whether somebody reads how this process ends: whose signals it sends on in its own way."""
    return bool(_records)


def record_end(end: End) -> None:
    """Says how this process is about to end; where that can't be written, its code says enough."""
    for path in _records:
        with contextlib.suppress(OSError):
            path.write_text(end.as_text(), encoding="utf-8")


def leave(code: int) -> NoReturn:
    """Ends the process, its own temporary folder, and the processes that it has left running.

    Those of multiprocessing, that is: some would wait for ever for work from a process that is
    gone, as those of a `ProcessPoolExecutor` do, which Python ends at an exit.
    """
    _flush()
    _leaving.append(threading.get_ident())
    for child in multiprocessing.active_children() if _own else ():
        child.terminate()
    for folder in _own:
        shutil.rmtree(folder, ignore_errors=True)
    for work in tuple(_last):
        do_within(_PATIENCE_SECONDS, work)  # a disk that doesn't answer must not hold up the end
    os._exit(code)


def leave_at_exit() -> None:
    """Makes `leave` the last farewell of this process; called before others register theirs."""
    atexit.register(_leave_if_over)


def end_well(tell: Callable[[str], None]) -> None:
    """From now on this process ends as Python does, with exit code 0, if only it comes to its end.

    Args:
        tell: gets a line if threads or farewells take longer than a minute, and are cut off.
    """
    _over.append(True)
    threading.Thread(target=_cut_off, args=(tell,), name="end", daemon=True).start()


def _leave_if_over() -> None:
    if _over:
        leave(0)


def _cut_off(tell: Callable[[str], None]) -> None:
    threading.Event().wait(_EXIT_SECONDS)
    others = [each.name for each in threading.enumerate() if not each.daemon]
    left = ", ".join(name for name in others if name != threading.main_thread().name)
    what = f"the threads {left}" if left else "what was registered with atexit"
    tell(f"All is done, but {what} went on for {_EXIT_SECONDS:g} s more and is cut off.")
    leave(0)


@contextlib.contextmanager
def forks_end_here() -> Iterator[None]:
    """Ends a fork of this process that would leave the body, where the parent's farewells begin.

    They would tell other workers that this one ends, and wait for threads that a fork hasn't got.
    """
    process = os.getpid()
    try:
        yield
    except BaseException as error:
        if os.getpid() != process:
            _end_fork(error)
        raise


def _end_fork(error: BaseException) -> NoReturn:
    """As Python ends a process in which this was raised."""
    code = (error.code or 0) if isinstance(error, SystemExit) else 1
    if not isinstance(error, SystemExit):
        traceback.print_exception(error)
    elif not isinstance(code, int):  # sys.exit("a reason")
        sys.stderr.write(f"{code}\n")
    _flush()
    os._exit(code if isinstance(code, int) else 1)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # None if it was closed
            stream.flush()
