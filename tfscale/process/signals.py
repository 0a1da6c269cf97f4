"""Hears SIGTERM and SIGINT at once, while the main thread is in C++ for a second or an hour.

Python runs a handler between two lines of the main thread's code, and TensorFlow puts a handler of
its own in place that swallows SIGTERM. What Python does at once, in C, is to write the signal's
number to a descriptor; a thread reads it here.

A fork has the handlers and the descriptor too, but no thread that reads: what ends the fork would
be told to this process as if it had been sent here. So a fork is given back what was before.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

HEARD = (signal.SIGTERM, signal.SIGINT)
_END = 0  # no signal has this number

_ears: list[
    tuple[dict[signal.Signals, Any], tuple[int, int]]
] = []  # handlers from before, and the pipe
_mask = threading.local()


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
    _ears.append((before, (reading, writing)))
    thread.start()
    try:
        yield
    finally:
        _ears.pop()
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.write(writing, bytes([_END]))
        thread.join()
        os.close(writing)


def _hold() -> None:
    """A fork that is ended at once must not be before it has given back what isn't its own."""
    _mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)


def _release() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _mask.before)


def _give_back() -> None:
    """In a fork, whose handlers are those from before the first of all."""
    if _ears:
        signal.set_wakeup_fd(-1)
    for before, pipe in reversed(_ears):
        for number, handler in before.items():
            signal.signal(number, handler)
        for descriptor in pipe:
            os.close(descriptor)
    _ears.clear()
    _release()


os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_give_back)


def _nothing(number: int, frame: FrameType | None) -> None:
    del number, frame


def _read(descriptor: int, then: Callable[[signal.Signals], None]) -> None:
    with os.fdopen(descriptor, "rb", buffering=0) as pipe:
        while (byte := pipe.read(1)) and byte[0] != _END:
            if byte[0] in HEARD:
                then(signal.Signals(byte[0]))
