"""Brings all workers to the same point of their loops, for a reason that one of them has.

Workers pass the same points in the same order, each at its own time, and may be one or two apart.
Whoever has a reason calls; every worker then promises the point that it is on its way to, and the
furthest of these is where all of them meet. Nothing is asked where nobody calls, and nobody is
kept from joining a collective that the others wait in: a worker stops at no earlier point.
"""

import threading

from tfscale.startup.board import Board


class Meeting:
    """The workers' common points of one training, for one purpose.

    Another purpose has a meeting of its own: who calls for it must not be taken for one who calls
    for this, and of two who call for the same thing at a time one is enough.

    Args:
        board: over which workers call and promise.
        purpose: of the meeting, unlike that of any other.
    """

    def __init__(self, board: Board, purpose: str) -> None:
        """Listens for calls from now on."""
        self._board, self._purpose = board, purpose
        self._lock = threading.Lock()
        self._reached = 0  # points that this worker's main thread has come to
        self._number = 0  # of meetings that are over
        self._reason = ""  # of the one that was called
        self._target: int | None = None
        if board.is_shared:
            threading.Thread(
                target=self._listen, name=f"meeting to {self._purpose}", daemon=True
            ).start()

    def call(self, reason: str) -> None:
        """Asks all workers to meet, from any thread; the first who calls is who is heard.

        Args:
            reason: what `reached` gives where they meet.
        """
        if self._board.is_shared:
            self._board.post(self._topic("call"), reason)
            return
        with self._lock:
            if not self._reason:
                self._reason, self._target = reason, self._reached + 1

    def reached(self) -> str:
        """Counts a point, on every worker; gives the reason where all of them meet, else ""."""
        with self._lock:  # so that a promise is about this point, or about the next
            self._reached += 1
            if not self._reason:
                return ""
        if self._target is None:
            said = self._board.gather(self._topic("promise"))
            self._target = max(map(int, said))
        return self._over() if self._reached >= self._target else ""

    def end(self) -> None:
        """Nobody calls any more; every worker's thread ends."""
        if self._board.is_shared:
            self._board.post(self._topic("call"), "")

    def _over(self) -> str:
        with self._lock:
            reason, self._reason, self._target = self._reason, "", None
            self._number += 1
        if self._board.is_shared:
            # Whoever is here has heard all that was said of the meeting before this one.
            self._board.withdraw(self._topic("call", self._number - 2))
            self._board.unsend(self._topic("promise", self._number - 2))
            threading.Thread(
                target=self._listen, name=f"meeting to {self._purpose}", daemon=True
            ).start()
        return reason

    def _listen(self) -> None:
        reason = self._board.wait_for(self._topic("call"))
        if not reason:
            return  # the end of the run, or of the board
        with self._lock:
            self._board.send(self._topic("promise"), str(self._reached + 1))
            self._reason = reason

    def _topic(self, what: str, number: int | None = None) -> str:
        number = self._number if number is None else number
        return f"meeting/{self._purpose}/{number}/{what}"
