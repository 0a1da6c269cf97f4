"""Workers ask each other where they are, from threads that need no main thread."""

import contextlib
import threading
from collections.abc import Callable

from tfscale.health.hang_verdict import Report
from tfscale.startup.board import Board

_ANSWER_SECONDS = 6.0
_ASK, _END = "ask", ""


class Inquiry:
    """What a worker is asked, and asks.

    Args:
        board: over which workers talk.
        look: says where this worker is.
        dump: writes down what its threads do.
    """

    def __init__(self, board: Board, look: Callable[[], Report], dump: Callable[[], None]) -> None:
        self._board, self._look, self._dump = board, look, dump
        self._round = 0  # of questions that this worker has answered
        self._heard = -1  # the last one whose answers it has heard

    def answer(self) -> None:
        """From now on answers, where there is somebody to ask."""
        if self._board.is_shared:
            for work in (self._tell_where, self._write_stacks):
                threading.Thread(target=work, name="answers", daemon=True).start()

    def end(self) -> None:
        """Nobody asks any more; every worker's threads end."""
        if self._board.is_shared:
            self._board.post(f"watchdog/{self._round}/ask", _END)
            self._board.post("watchdog/stacks", _END)

    def reports(self) -> list[Report | None]:
        """What each worker says of itself; None of who says nothing for seconds."""
        if not self._board.is_shared:
            return [self._look()]
        # This worker's own thread may still be about to count the last one.
        number = max(self._round, self._heard + 1)
        self._board.post(f"watchdog/{number}/ask", _ASK)
        said = self._board.gather_within(f"watchdog/{number}/answer", _ANSWER_SECONDS)
        self._heard = number
        return [None if text is None else Report.of_text(text) for text in said]

    def have_stacks_written(self) -> None:
        """Returns when every worker that can has written down what its threads do; once a run."""
        if not self._board.is_shared:
            self._dump()
            return
        self._board.post("watchdog/stacks", _ASK)
        self._board.gather_within("watchdog/written", _ANSWER_SECONDS)

    def _tell_where(self) -> None:
        while self._board.wait_for(f"watchdog/{self._round}/ask"):
            with contextlib.suppress(Exception):  # the board has ended
                self._board.send(f"watchdog/{self._round}/answer", self._look().as_text())
            self._round += 1

    def _write_stacks(self) -> None:
        if self._board.wait_for("watchdog/stacks"):
            self._dump()
            with contextlib.suppress(Exception):  # the board has ended
                self._board.send("watchdog/written", "")
