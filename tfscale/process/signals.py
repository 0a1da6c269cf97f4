"""Hears SIGTERM and SIGINT at once, while the main thread is in C++ for a second or an hour.

Python runs a handler between two lines of the main thread's code, and TensorFlow puts a handler of
its own in place that swallows SIGTERM. What Python does at once, in C, is to write the signal's
number to a descriptor; a thread reads it here.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

HEARD = (signal.SIGTERM, signal.SIGINT)
_END = 0  # no signal has this number


@contextlib.contextmanager
def heard(then: Callable[[signal.Signals], None]) -> Iterator[None]:
    """In the body, signals do nothing but to be told to `then`, in a thread of its own.

    Outside of the main thread, where Python can't handle signals, it does nothing.

    Args:
        then: gets every signal, one after the other.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    thread = threading.Thread(target=_read, args=(reading, then), name="signals", daemon=True)
    before = {number: signal.signal(number, _nothing) for number in HEARD}
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.write(writing, bytes([_END]))
        thread.join()
        os.close(writing)


def _nothing(number: int, frame: FrameType | None) -> None:
    del number, frame


def _read(descriptor: int, then: Callable[[signal.Signals], None]) -> None:
    with os.fdopen(descriptor, "rb", buffering=0) as pipe:
        while (byte := pipe.read(1)) and byte[0] != _END:
            if byte[0] in HEARD:
                then(signal.Signals(byte[0]))
