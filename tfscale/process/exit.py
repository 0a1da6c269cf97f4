"""Ends this process at once, and takes its temporary files with it.

TensorFlow's threads may wait for each other at a normal exit, and a worker that another one's
failure ends is blocked in a collective: what Python does at an exit is never done.
"""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from tfscale.process.patience import done_within
from tfscale.process.temporary import own_folder, remove_left_behind

_PATIENCE_SECONDS = 2.0
_own: list[Path] = []
_last: list[Callable[[], None]] = []


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
def done_on_leaving(work: Callable[[], None]) -> Iterator[None]:
    """In the body, `leave` does the work as the last thing that it does, from any thread."""
    _last.append(work)
    try:
        yield
    finally:
        _last.remove(work)


def leave(code: int) -> NoReturn:
    """Ends the process; with its own temporary folder and what is to be done last, no more."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # None if it was closed
            stream.flush()
    for folder in _own:
        shutil.rmtree(folder, ignore_errors=True)
    for work in tuple(_last):
        done_within(_PATIENCE_SECONDS, work)  # a disk that doesn't answer must not hold up the end
    os._exit(code)
