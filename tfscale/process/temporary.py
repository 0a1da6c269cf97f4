"""The temporary folder of a process, and those that killed processes have left behind.

Each folder has a file that its process holds by `flock` for as long as it lives: the system gives
the lock back however the process ends, and unlike a number of a process it is never another's. The
file says which running system has made it, because `/tmp` may be shared by machines, of which each
keeps its own locks.
"""

import contextlib
import fcntl
import os
import platform
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "tfscale-"
_HELD = ".held"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_own: list[Path] = []


def own_folder() -> Path:
    """A new folder that is held until this process and its forks have ended.

    Raises:
        OSError: there is no folder for temporary files.
    """
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=_shared()))
    _own.append(folder)
    # Without locks on this file system the folder stays if the process is killed, as it may.
    with contextlib.suppress(OSError):
        unfinished = folder / f"{_HELD}~"
        # Never closed: the lock ends with the process, not a moment before.
        number = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(number, f"{running_system()}\n{os.getpid()}".encode())
        # Nobody sees it before it is locked.
        unfinished.rename(folder / _HELD)
    return folder


def remove_left_behind() -> None:
    """Removes the folders of processes of this user and this system that have ended.

    What isn't certain to be that of such a process stays: other users' folders, those without a
    held file, those of another machine or of a time before the last start of this one.
    """
    with contextlib.suppress(OSError), os.scandir(_shared()) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX):
                with contextlib.suppress(OSError), _left_behind(Path(entry.path)) as is_left:
                    if is_left:
                        shutil.rmtree(entry.path, ignore_errors=True)


def kept_log(process: int) -> Path | None:
    """The log of a process that was killed before it had another place for it.

    It is moved to where it stays when the folder of the process is removed.

    Args:
        process: the number of a child of this process that has just ended.
    """
    owner = f"{running_system()}\n{process}"
    with contextlib.suppress(OSError):
        for folder in _shared().glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):
                if (folder / _HELD).read_text() == owner:
                    for log in folder.glob(f"{PREFIX}*.log"):
                        return log.rename(folder.with_name(f"{folder.name}.log"))
    return None


@contextlib.contextmanager
def _left_behind(folder: Path) -> Iterator[bool]:
    """Whether nobody holds a folder any more; nobody else may remove it meanwhile."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        yield False
        return
    number = os.open(folder / _HELD, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: it is in use
        # One that was removed, and whose name came again, since it was opened is another's.
        is_there = os.path.samestat(os.fstat(number), (folder / _HELD).lstat())
        yield is_there and os.read(number, 1000).decode().partition("\n")[0] == running_system()
    finally:
        os.close(number)


def _shared() -> Path:
    """Where all processes have their folders: not in that which this one has made its own."""
    usual = Path(tempfile.gettempdir())
    return usual.parent if usual in _own else usual


def running_system() -> str:
    """This machine since its last start, as far as it can be told."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return platform.node()
