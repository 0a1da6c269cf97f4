"""Whether signals that come one after the other are one wish to stop, or a second one."""

import signal
import time
from collections.abc import Callable

# A scheduler signals all processes of a job one by one, and a launcher hands on what it gets.
_SAME_SECONDS = 2.0


class StopWish:
    """The wish to stop, once it has come.

    Args:
        clock: in seconds.

    Attributes:
        signal: that came first.
        is_urgent: whether another came that isn't the same wish.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = 0.0
        self.signal: signal.Signals | None = None
        self.is_urgent = False

    def note(self, number: int) -> bool:
        """Takes a signal.

        Returns:
            Whether it is the first.
        """
        if self.signal is None:
            self.signal, self._since = signal.Signals(number), self._clock()
            return True
        self.is_urgent |= self._clock() - self._since >= _SAME_SECONDS
        return False

    @property
    def code(self) -> int:
        """What a shell says of a program that the signal ended; 0 without one."""
        return 0 if self.signal is None else 128 + self.signal
