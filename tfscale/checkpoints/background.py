"""Writes one checkpoint at a time in a thread of its own, while training goes on."""

import threading
import time
from collections.abc import Callable


class Background:
    """A thread's work, its cost, and its failure."""

    def __init__(self) -> None:
        self.processor_seconds = 0.0  # of the last work
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None

    @property
    def is_busy(self) -> bool:
        """Whether the last work still goes on."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, work: Callable[[], None]) -> None:
        """Does the work when the one before is done, for which this waits.

        Raises:
            Exception: whatever the one before has raised.
        """
        self.wait()
        self._thread = threading.Thread(
            target=self._run, args=(work,), name="checkpoint", daemon=True
        )
        self._thread.start()

    def wait(self) -> None:
        """Returns when nothing is left to do.

        Raises:
            Exception: what the work has raised.
        """
        if self._thread is not None:
            self._thread.join()
        self.require_success()

    def require_success(self) -> None:
        """Raises what the last work has raised, if it is over; once.

        Raises:
            Exception: that.
        """
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _run(self, work: Callable[[], None]) -> None:
        began = time.thread_time()
        try:
            work()
        except Exception as error:  # whatever it is, it belongs to the training
            self._failure = error
        self.processor_seconds = time.thread_time() - began
