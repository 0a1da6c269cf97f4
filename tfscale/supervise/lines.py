"""The lines that a process writes into a pipe, handed on one by one while it runs."""

import threading
from collections.abc import Callable
from typing import IO

_JOIN_SECONDS = 5.0


class Lines:
    """Reads a pipe in a thread of its own until it ends, and closes it.

    Args:
        pipe: without a buffer; nobody else may read or close it.
        hand_on: gets each line with its end, and "" when there are no more; called in the thread.
    """

    def __init__(self, pipe: IO[bytes], hand_on: Callable[[str], None]) -> None:
        self._pipe = pipe
        self._hand_on = hand_on
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Waits for the last line, but not for ever: who left the group may hold the pipe."""
        self._thread.join(_JOIN_SECONDS)

    def _read(self) -> None:
        number = self._pipe.fileno()
        # Text mode takes \r for an end of line too: every state of a progress bar is a line.
        with self._pipe, open(number, encoding="utf-8", errors="replace", closefd=False) as lines:
            for line in lines:
                self._hand_on(line)
        self._hand_on("")
