"""Waiting for what should be quick, but not for ever."""

import threading
from collections.abc import Callable


def done_within(seconds: float, work: Callable[[], None]) -> bool:
    """Does the work in a thread of its own, and says whether it was done in time.

    It goes on afterwards; nobody hears of its errors but Python's own hook for threads.
    """
    thread = threading.Thread(target=work, name="patience", daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()
