"""Stands for a worker of another machine among the processes of this one.

    python -P -m tools.ssh.courier ERRAND

It holds the connection, shows the worker's lines as they come, passes SIGTERM on and ends as the
worker has ended: with its exit code, its signal and its record. A node that can't be reached yet is
tried again for as long as the other workers wait; what can't get better ends at once.

The courier of worker 0 knows from the node how far the run is, since this machine need not see its
folder. It leaves that where the supervisor looks, in a folder that is to it the run's own.
"""

import contextlib
import json
import os
import resource
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NoReturn

from tfscale.errors import FAILURE_CODE, PREEMPTED_CODE, End, Kind
from tfscale.files import atomic
from tfscale.files.checkpoint_names import mark_of
from tfscale.files.run_directory import LOGS
from tfscale.process.exit import record_end, record_end_in
from tfscale.process.stop_request import StopWish
from tfscale.startup.environment import handed_on, take_end_record
from tfscale.supervise.echo import echo
from tfscale.supervise.gang import Gang, Member, Streams
from tfscale.supervise.lines import Lines
from tfscale.supervise.stop_signals import noted_stops
from tools.ssh.connection import end_without_meeting
from tools.ssh.messages import BEAT, BEAT_SECONDS, GO, STOP, Order, Record

BEFORE = "before.json"  # of a launch's folder
_POLL_SECONDS = 0.05
_RETRY_SECONDS = 2.0


@dataclass(frozen=True)
class Errand:
    """What one courier is started with.

    Args:
        target: of the worker's node.
        ssh: the words that start the member there.
        order: what it gets, as a text.
        folder: where it is left how far the run is; "" by all but worker 0.
        patience_seconds: how long a node is tried.
    """

    target: str
    ssh: tuple[str, ...]
    order: str
    folder: str
    patience_seconds: float

    def as_text(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))

    @classmethod
    def of_text(cls, text: str) -> "Errand":
        """From there."""
        found = json.loads(text)
        return cls(**{**found, "ssh": tuple(found["ssh"])})


class _Visit:
    """One connection to a node."""

    def __init__(self, errand: Errand, stop: StopWish) -> None:
        self._errand = errand
        self._stop = stop
        self._folder = Path(errand.folder) if errand.folder else None
        self._mark = f"tfscale-{secrets.token_hex(16)}"
        self._ssh: Member | None = None
        self.said: list[str] = []  # before the member did
        self.has_met = False
        self.failure = ""  # of this side
        self.told: Record | None = None  # of the worker's end

    def run(self) -> int:
        """Until the connection has ended; gives ssh's exit code."""
        streams = Streams(stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        with Gang() as gang:
            # In a session of its own: a signal for this process is none for the connection.
            self._ssh = ssh = gang.start(self._errand.ssh, streams=streams)
            lines = Lines(ssh.stderr, self._line) if ssh.stderr else None
            self._write(self._order().as_text())
            code = self._watch(ssh)
            if lines:
                lines.join()
        return code

    def _order(self) -> Order:
        before = ""
        if self._folder and (self._folder / BEFORE).is_file():
            before = (self._folder / BEFORE).read_text(encoding="utf-8")
        order = Order.of_text(self._errand.order)
        return replace(order, environ=handed_on(), mark=self._mark, before=before)

    def _watch(self, ssh: Member) -> int:
        beaten, is_told = time.monotonic(), False
        while (code := ssh.poll()) is None:
            if self._stop.signal and not is_told:
                is_told = True
                self._write(STOP)
            if self.failure or (is_told and not self.has_met):
                ssh.send(signal.SIGKILL)
            if time.monotonic() >= beaten + BEAT_SECONDS:
                beaten = time.monotonic()
                self._write(BEAT)
            time.sleep(_POLL_SECONDS)
        return code

    def _write(self, word: str) -> None:
        pipe = self._ssh and self._ssh.stdin
        with contextlib.suppress(OSError, ValueError):  # an end shows otherwise
            if pipe:
                pipe.write(f"{word}\n".encode())

    def _line(self, text: str) -> None:
        """Takes a line of ssh's standard error: the member's, the worker's, or ssh's own."""
        text, mark, told = text.partition(self._mark)
        if text and self.has_met:
            echo(text if text.endswith("\n") else f"{text}\n", sys.stderr)
        elif text.strip():
            self.said.append(text)
        with contextlib.suppress(ValueError):  # cut off in the middle, as the connection is
            if mark:
                self._take(Record.of_line(told))

    def _take(self, record: Record) -> None:
        if record.code is not None:
            self.told = record
        elif record.before is not None:
            self._meet(record.before)
        elif self._folder:
            with contextlib.suppress(OSError):  # the next one may be written
                (self._folder / LOGS).mkdir(exist_ok=True)
                if record.step is not None:
                    atomic.write_text(self._folder / mark_of(0), str(record.step))
                if record.is_done:
                    atomic.write_text(self._folder / "report.json", "{}")

    def _meet(self, before: str) -> None:
        """Lets the member start the worker, as soon as it is kept what was there before."""
        try:
            if self._folder and not (self._folder / BEFORE).is_file():
                atomic.write_text(self._folder / BEFORE, before)
        except OSError as error:
            self.failure = f"{self._folder} can't be written to: {error}"
            return
        self.has_met = True
        self._write(GO)


def main() -> NoReturn:
    """Runs the errand on the command line, and ends as its worker has."""
    errand = Errand.of_text(sys.argv[1])
    record_end_in(take_end_record())
    with noted_stops() as stop:
        code = _run(errand, stop)
    if code < 0:
        _die(-code)
    sys.exit(code)


def _run(errand: Errand, stop: StopWish) -> int:
    """Gives the worker's code, negative for a signal."""
    deadline, last = time.monotonic() + errand.patience_seconds, ""
    while True:
        visit = _Visit(errand, stop)
        code = visit.run()
        if visit.told is not None and visit.told.code is not None:
            with contextlib.suppress(ValueError):
                record_end(End.of_text(visit.told.end))
            return visit.told.code
        if visit.has_met:
            return _ended(End.of(FAILURE_CODE, f"The connection to {errand.target} was lost."))
        if visit.failure:
            return _ended(End.of(FAILURE_CODE, visit.failure))
        if stop.signal:
            return PREEMPTED_CODE
        end = end_without_meeting(errand.target, code, visit.said)
        if end.kind is not Kind.START_TIMEOUT or time.monotonic() >= deadline:
            return _ended(end)
        if end.reason != last:
            echo(f"{end.reason}\n", sys.stderr)
        last = end.reason
        _pause(stop)


def _ended(end: End) -> int:
    record_end(end)
    echo(f"{end.reason}\n", sys.stderr)
    return end.code


def _pause(stop: StopWish) -> None:
    until = time.monotonic() + _RETRY_SECONDS
    while not stop.signal and time.monotonic() < until:
        time.sleep(_POLL_SECONDS)


def _die(number: int) -> NoReturn:
    """Ends by the signal that has ended the worker, so that whoever waits sees the same."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # there is nothing to be seen in this one
    with contextlib.suppress(OSError, ValueError):  # SIGKILL's can't be changed
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
