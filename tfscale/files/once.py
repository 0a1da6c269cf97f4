"""Work that one process of many does while the others wait: a download, an index, a preparation.

The lock is `flock`, which the system gives back when its holder dies, however it dies: a file that
only exists, the other way to lock, would be left behind by a machine that lost its power, and
nobody could tell. Linux takes `flock` to the server of an NFS, so that it holds between machines
too. Where a file system keeps it on each machine (NFS mounted with `local_lock=flock`, Lustre with
`localflock`), one process of each machine does the work: it must do no harm when it is done twice,
as whatever is written with `tfscale.files.atomic` doesn't. Where there is no `flock` at all,
filelock takes a file that exists, and removes that of a process that died on the same machine.

Data that may only be read, such as a share or a part of a container, is locked in a folder of this
user's; where nothing can be written anywhere, nothing has to be locked.
"""

import contextlib
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from tfscale.errors import ConfigError
from tfscale.files import atomic

_SAY_SECONDS = 10.0
_POLL_SECONDS = 0.05
_NAME = re.compile(r"[A-Za-z0-9_-]+")


def cache_folder(name: str) -> Path:
    """A folder of this user's for what belongs to other people's folders: the home is everywhere.

    Args:
        name: of what it is for.
    """
    try:
        return Path.home() / ".cache" / "tfscale" / name
    except RuntimeError:  # this user has none
        return Path(tempfile.gettempdir()) / f"tfscale-{name}-{os.getuid()}"


def can_be_written(folder: Path) -> bool:
    """Whether it can; only to try tells, on a network or where somebody else is root."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def marker_of(folder: Path, name: str) -> Path:
    """The file that says that the work was done; whoever wants it done again removes it."""
    found = [_marker(place, name) for place in _places_for(folder)]
    return next(filter(Path.is_file, found), found[0])


def once(
    folder: Path,
    name: str,
    work: Callable[[], None],
    *,
    say: Callable[[str], None] | None = None,
    is_done: Callable[[], bool] | None = None,
) -> bool:
    """Does the work, unless it was done; of all processes that ask at once, one does it.

    The others wait as long as it takes. If that one dies, or its work raises, the next one tries.

    Args:
        folder: on the file system that the processes share; it is made if it isn't there.
        name: of the work, of letters, digits, "_" and "-"; it has a lock of its own in the folder.
        work: done by one process at a time; what it gives has to lie in files.
        say: gets a line every ten seconds of waiting.
        is_done: tells by what the work leaves behind whether it was done; without it, a marker
            file does, which is written when the work has succeeded.

    Returns:
        Whether this process did it.

    Raises:
        ConfigError: the folder's file system doesn't take a lock.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"The work {name!r} has a name that no file can have; use letters.")
    if marker_of(folder, name).is_file() if is_done is None else is_done():
        return False
    place = next(filter(can_be_written, _places_for(folder)), None)
    if place is None:
        work()
        return True
    marker = _marker(place, name)
    has_been_done = marker.is_file if is_done is None else is_done
    lock = _wait_for_lock(place, name, has_been_done, say)
    if lock is None:
        return False
    try:
        _look_again(place)
        if has_been_done():
            return False
        work()
        if is_done is None:
            atomic.write_text(marker, "done\n")
        return True
    finally:
        lock.release()


def _places_for(folder: Path) -> tuple[Path, ...]:
    """Where locks and markers of a folder may lie: in it, or in one of this user's."""
    name = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:16]
    temporary = Path(tempfile.gettempdir()) / f"tfscale-locks-{os.getuid()}"
    return folder, cache_folder("locks") / name, temporary / name


def _marker(place: Path, name: str) -> Path:
    return place / f".tfscale-{name}-done"


def _wait_for_lock(
    folder: Path, name: str, is_done: Callable[[], bool], say: Callable[[str], None] | None
) -> FileLock | None:
    """The lock, held; or None if the work was done before it could be had."""
    started = time.monotonic()
    try:
        lock = FileLock(folder / f".tfscale-{name}-lock", thread_local=False)
        while True:
            with contextlib.suppress(Timeout):
                lock.acquire(timeout=_SAY_SECONDS, poll_interval=_POLL_SECONDS)
                return lock
            if is_done():
                return None
            if say is not None:
                waited = time.monotonic() - started
                say(f"waiting for another process's {name} in {folder} ({waited:.0f} s so far)")
    except OSError as error:
        raise ConfigError(
            f"{folder} can't be locked ({error.strerror or error}); expected a file system that "
            f"takes a lock, for {name}. Use another folder."
        ) from error


def _look_again(folder: Path) -> None:
    """Makes this machine ask the server what is in the folder.

    A client of an NFS remembers for up to a minute that a file wasn't there; a change of its own in
    the folder ends that.
    """
    with contextlib.suppress(OSError), tempfile.NamedTemporaryFile(dir=folder):
        pass
