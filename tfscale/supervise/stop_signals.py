"""Signals that ask a launcher to stop: noted, not obeyed at once."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from tfscale.process.stop_request import StopWish

# Those that a person, a scheduler or the end of a terminal sends.
_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def noted_stops() -> Iterator[StopWish]:
    """Notes SIGINT, SIGTERM and SIGHUP instead of being ended by them, while the context lasts.

    What is ignored stays so: `nohup` means it.
    """
    stop = StopWish()

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
