"""Waiting for what should be quick, but not for ever."""

import contextlib
import threading
from collections.abc import Callable, Iterator


def do_within(seconds: float, work: Callable[[], None]) -> bool:
    """Does the work in a thread of its own, and says whether it was done in time.

    It goes on afterwards; nobody hears of its errors but Python's own hook for threads.
    """
    thread = threading.Thread(target=work, name="patience", daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


@contextlib.contextmanager
def tell_if_long(
    seconds: float, tell: Callable[[], bool], *, again_seconds: float = 1.0
) -> Iterator[None]:
    """If the body lasts for so long, calls `tell` in another thread, until it has told something.

    Args:
        seconds: that the body may last.
        tell: gives whether there was anything to tell.
        again_seconds: after which it is asked again.
    """
    is_over = threading.Event()

    def watch() -> None:
        wait = seconds
        while not is_over.wait(wait) and not tell():
            wait = again_seconds

    thread = threading.Thread(target=watch, name="told-if-long", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
