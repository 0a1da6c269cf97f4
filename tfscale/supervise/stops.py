"""Signals that ask a launcher to stop: noted, not obeyed at once."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType

# Those that a person, a scheduler or the end of a terminal sends.
_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A scheduler signals a job's processes one by one, and programs hand on what they get: what comes
# so soon after the first signal is the same wish.
_SAME_SECONDS = 1.0


class Stop:
    """The wish to stop, once it has come.

    Args:
        clock: in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begins without one."""
        self._clock = clock
        self._since = 0.0
        self.signal: signal.Signals | None = None
        self.is_urgent = False

    def note(self, number: int) -> None:
        """Takes a signal; the second one, if it isn't the same wish, is urgent."""
        if self.signal is None:
            self.signal, self._since = signal.Signals(number), self._clock()
        elif self._clock() - self._since >= _SAME_SECONDS:
            self.is_urgent = True

    @property
    def code(self) -> int:
        """What a shell says of a program that the signal ended; 0 without one."""
        return 0 if self.signal is None else 128 + self.signal


@contextlib.contextmanager
def noted_stops() -> Iterator[Stop]:
    """Notes SIGINT, SIGTERM and SIGHUP instead of being ended by them, while the context lasts.

    What is ignored stays so: `nohup` means it.
    """
    stop = Stop()

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        stop.note(number)

    previous = {number: signal.getsignal(number) for number in _NUMBERS}
    taken = [number for number in _NUMBERS if previous[number] is not signal.SIG_IGN]
    for number in taken:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number in taken:
            signal.signal(number, previous[number])
