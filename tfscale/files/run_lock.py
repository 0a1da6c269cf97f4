"""A run holds its folder: whoever starts another one there is told who has it, on any machine.

Two files in the folder say so. On one the chief has a POSIX record lock: the system gives it back
however the process ends, an NFS takes it to its server, and unlike `flock` no forked child keeps
it. The other one is the record of who that is (`run_holder`), which a thread touches every few
seconds. It names the holder, and decides where there are no locks, or where each machine keeps its
own (an NFS mounted with `nolock`).

Nothing is stale after a kill or a loss of power: on the same machine the folder is had at once, on
another one as soon as the record has missed a few beats.
"""

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tfscale.errors import CONFIG_CODE, ConfigError
from tfscale.files import run_holder
from tfscale.files.ownership import make_private, missing_folders, remove_empty
from tfscale.files.run_holder import Holder

LOCK = ".tfscale-run-lock"
_DYING_SECONDS = 1.0  # a process that was killed keeps its lock until its memory is given back
_POLL_SECONDS = 0.05


class RunLock:
    """A run's hold of its folder; the chief alone takes it.

    Args:
        folder: of the run; it need not be there.
        complain: gets a line where something has to be waited for.
    """

    def __init__(self, folder: Path, complain: Callable[[str], None]) -> None:
        self._folder = folder
        self._complain = complain
        self._own = Holder.of_this_process()
        self._descriptor: int | None = None  # closed, it would give the lock back
        self._made: list[Path] = []
        self._turn = threading.Lock()  # of the thread that beats, and of who gives the folder back
        self._over = threading.Event()
        self._end: Callable[[str, int], object] | None = None
        self._lost = ""  # why it isn't held any more

    def take(self) -> str:
        """Takes the folder until `release`, and makes it if it isn't there.

        One that can't be written to isn't taken: `RunDirectory.claim` has the words for that.

        Returns:
            Why it can't be had, in one line; empty if it can.
        """
        with contextlib.suppress(OSError):
            self._made = missing_folders(self._folder)
            holder = self._in_the_way()
            if holder is not None:
                self._give_up()
                return _told(self._folder, holder)
            self._own.write(self._folder)
        threading.Thread(target=self._beat, name="run-lock", daemon=True).start()
        return ""

    def ends_by(self, end: Callable[[str, int], object]) -> None:
        """Has the run ended if another one takes the folder over: the first of two to have it.

        Args:
            end: gets the reason and the exit code, from any thread.
        """
        with self._turn:
            self._end = end
        if self._lost:
            end(self._lost, CONFIG_CODE)

    def release(self) -> None:
        """Gives the folder back and leaves nothing of its own there; from any thread."""
        if os.getpid() != self._own.pid:
            return  # a forked child that ends in its own way holds nothing
        self._over.set()
        with self._turn:
            with contextlib.suppress(OSError):
                if self._is_own(run_holder.read(self._folder)):
                    (self._folder / run_holder.RECORD).unlink()
            with contextlib.suppress(OSError):
                # While it is locked: who has opened it meanwhile sees that it has lost its name.
                if self._is_there() and not self._lost:
                    (self._folder / LOCK).unlink()
            self._give_up()

    def _give_up(self) -> None:
        self._close()
        remove_empty(self._made)

    def _in_the_way(self) -> Holder | None:
        """Who else holds the folder; if nobody does, it is this process that has the lock.

        Raises:
            OSError: the folder can't be made or written to.
        """
        deadline = time.monotonic() + _DYING_SECONDS
        while (has_lock := self._lock_in_a_folder()) is False:
            if time.monotonic() >= deadline:
                return run_holder.read(self._folder) or Holder()
            time.sleep(_POLL_SECONDS)
        found = run_holder.read(self._folder)
        if found is None or found.is_this_process:
            return None
        if found.is_running:
            return found
        if found.can_be_looked_up or (has_lock and found.is_here):
            return None
        if not run_holder.is_recent(self._folder):
            return None
        self._complain(
            f"--run_dir={self._folder} was held a moment ago by {found.described()}; "
            "a few seconds show whether it still is"
        )
        return found if run_holder.beats_on(self._folder) else None

    def _lock_in_a_folder(self) -> bool | None:
        while True:
            make_private(self._folder)
            with contextlib.suppress(FileNotFoundError):  # a refused run has just removed it
                return self._try_lock()

    def _try_lock(self) -> bool | None:
        """Whether this process has the lock now; None where there are no locks.

        Raises:
            FileNotFoundError: there is no folder.
        """
        path = self._folder / LOCK
        while True:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            except FileNotFoundError:
                raise
            except OSError:
                return None  # another user's, or nothing can be written here
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                os.close(descriptor)
                return False
            except OSError:
                os.close(descriptor)
                path.unlink(missing_ok=True)  # of no use
                return None
            self._close()
            self._descriptor = descriptor
            if self._is_there():
                return True  # else its last holder has just removed it

    def _is_there(self) -> bool:
        """Whether what this process has locked is what the next one would try to lock."""
        if self._descriptor is None:
            return False
        with contextlib.suppress(OSError):
            there = (self._folder / LOCK).lstat()
            return os.path.samestat(os.fstat(self._descriptor), there)
        return False

    def _is_own(self, found: Holder | None) -> bool:
        return found is not None and found.nonce == self._own.nonce

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _beat(self) -> None:
        while not self._over.wait(run_holder.BEAT_SECONDS):
            holder = None
            with self._turn:
                # What can't be written now may be at the next beat.
                with contextlib.suppress(OSError):
                    holder = None if self._over.is_set() else self._look()
                if holder is not None:
                    self._lost = _told(self._folder, holder)
                end = self._end
            if self._lost:
                if end is not None:
                    end(self._lost, CONFIG_CODE)
                return

    def _look(self) -> Holder | None:
        """Shows that this process still runs, or gives who has the folder in its place.

        A folder that somebody has removed isn't made here; one that was made again is taken anew.
        """
        if not self._folder.is_dir():
            return None
        is_elsewhere = self._descriptor is not None and not self._is_there()
        if is_elsewhere and self._try_lock() is False:
            return run_holder.read(self._folder) or Holder()
        found = run_holder.read(self._folder)
        if found is None:
            self._own.write(self._folder)
        elif not self._is_own(found):
            return found
        else:
            os.utime(self._folder / run_holder.RECORD)
        return None


def require_free(folder: Path) -> None:
    """Refuses a folder that a run has, before anything is started that would find that out.

    Raises:
        ConfigError: another process has it.
    """
    deadline = time.monotonic() + _DYING_SECONDS
    while (holder := holder_of(folder)) is not None:
        if time.monotonic() >= deadline:
            raise ConfigError(_told(folder, holder))
        time.sleep(_POLL_SECONDS)


def holder_of(folder: Path) -> Holder | None:
    """Who has a folder, for the launchers of runs; None if nobody does or it isn't there.

    Not to be asked in a process that has it: the lock would be given back with the question.
    """
    found = run_holder.read(folder)
    with contextlib.suppress(OSError):
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return found or Holder()
        finally:
            os.close(descriptor)
    return found if found is not None and found.is_running else None


def is_anothers(folder: Path) -> bool:
    """Whether a run has a folder, asked when all processes that were started here have ended."""
    found = run_holder.read(folder)
    is_of_elsewhere = found is not None and not found.can_be_looked_up
    return is_of_elsewhere or holder_of(folder) is not None


def _told(folder: Path, holder: Holder) -> str:
    return (
        f"--run_dir={folder} is held by another run, {holder.described()}; expected a folder that "
        f"no run is using. Wait for its end, {holder.stop()}, or use another --run_dir."
    )
