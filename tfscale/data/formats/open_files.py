"""Files that stay open between reads, but never too many of them."""

import os
import resource
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Opened = TypeVar("Opened")

_FEWEST, _MOST = 16, 1024
_SHARE = 4  # of what a process may have open: a run has several splits, and much else


class Descriptor:
    """An open file, closed when nobody has it any more: who still reads isn't cut off.

    Args:
        path: of a file to read.

    Raises:
        OSError: it can't be opened.
    """

    def __init__(self, path: str) -> None:
        self.number = -1
        self.number = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        """Closes it; when Python ends, `os` may be gone before this is."""
        if self.number >= 0:
            close(self.number)


class OpenFiles(Generic[Opened]):
    """What was opened by its path; what wasn't asked for the longest time goes first.

    What goes is only forgotten here: it has to close itself when nobody holds it any more, because
    another thread may be reading.

    Args:
        open_file: opens a path.
        limit: how many stay open; None takes a quarter of what the system lets a process have.
    """

    def __init__(self, open_file: Callable[[str], Opened], limit: int | None = None) -> None:
        self._open_file = open_file
        self._limit = _usual_limit() if limit is None else limit
        self._lock = threading.Lock()
        self._opened: OrderedDict[str, Opened] = OrderedDict()

    def get(self, path: str) -> Opened:
        """The open file of a path; may be called from several threads.

        Raises:
            OSError: it can't be opened.
        """
        with self._lock:
            if path in self._opened:
                self._opened.move_to_end(path)
                return self._opened[path]
        # Outside of the lock: to open a file on a network takes milliseconds.
        opened = self._open_file(path)
        with self._lock:
            kept = self._opened.setdefault(path, opened)
            self._opened.move_to_end(path)
            while len(self._opened) > self._limit:
                self._opened.popitem(last=False)
            return kept

    def __len__(self) -> int:
        """How many are open."""
        return len(self._opened)


def _usual_limit() -> int:
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return _MOST
    return max(_FEWEST, min(_MOST, allowed // _SHARE))
