"""Who holds a run's folder: the record that its process leaves there, and how it shows its age.

A process of this machine is looked for. One of another machine touches its record every few
seconds, and whether it still does is seen in the times that the file server gives, whatever this
machine's clock says.
"""

import contextlib
import json
import os
import platform
import secrets
import shlex
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tfscale.files import atomic
from tfscale.process.printable import one_printable_line
from tfscale.process.temporary import running_system

RECORD = ".tfscale-run-holder.json"
BEAT_SECONDS = 3.0  # from one touch to the next
_WATCH_SECONDS = 10.0  # three of them
_RECENT_SECONDS = 30.0  # a record that was touched before has no process any more
_LOOK_SECONDS = 0.5
_LONGEST_COMMAND = 200
_LONGEST = 10_000  # letters of a record


@dataclass(frozen=True)
class Holder:
    """The process that holds a folder.

    Args:
        host: its machine, for people.
        system: its machine since the last start, for comparing.
        pids: the namespace that its number is of.
        pid: its number; 0 where nothing is known of it.
        born: when it started, as its system counts: a number is given again.
        since: when it took the folder, for people.
        command: how it was started; empty if that is long.
        nonce: tells it from every other holder.
    """

    host: str = ""
    system: str = ""
    pids: str = ""
    pid: int = 0
    born: str = ""
    since: str = ""
    command: str = ""
    nonce: str = ""

    @classmethod
    def of_this_process(cls) -> "Holder":
        """A new one."""
        pid, command = os.getpid(), shlex.join(sys.argv)
        return cls(
            host=platform.node(),
            system=running_system(),
            pids=_pids(),
            pid=pid,
            born=_born(pid),
            since=time.strftime("%Y-%m-%d %H:%M:%S %z"),
            command=command if len(command) <= _LONGEST_COMMAND else "",
            nonce=secrets.token_hex(16),
        )

    @property
    def is_here(self) -> bool:
        """Whether it is, or was, a process of this system."""
        return self.system == running_system()

    @property
    def can_be_looked_up(self) -> bool:
        """Whether its number means the same to this process."""
        return self.is_here and self.pids == _pids()

    @property
    def is_this_process(self) -> bool:
        """Whether it is this process, in an earlier run."""
        return self.can_be_looked_up and self.pid == os.getpid()

    @property
    def is_running(self) -> bool:
        """Whether it can be looked up and hasn't ended."""
        return self.can_be_looked_up and bool(self.born) and _born(self.pid) == self.born

    def write(self, folder: Path) -> None:
        """Leaves the record in a folder that is there.

        Raises:
            OSError: it can't be written.
        """
        atomic.write_text(folder / RECORD, json.dumps(asdict(self)) + "\n")

    def described(self) -> str:
        """Who it is, in a few words, whatever somebody has written into the record."""
        if not self.pid:
            return "a process that has left no record"
        command = f" ({self.command})" if self.command else ""
        return _shown(f"pid {self.pid} on {self.host} since {self.since}{command}")

    def stop(self) -> str:
        """How to end it, as the middle of a sentence."""
        return f"stop it (kill {self.pid} on {_shown(self.host)})" if self.pid else "stop it"


def read(folder: Path) -> Holder | None:
    """What the record says; None where there is none that this version has written."""
    with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
        with (folder / RECORD).open(encoding="utf-8") as file:
            found = Holder(**json.loads(file.read(_LONGEST)))
        values = asdict(found)
        is_number = type(pid := values.pop("pid")) is int and pid > 0
        if is_number and all(type(value) is str for value in values.values()) and found.nonce:
            return found
    return None


def is_recent(folder: Path) -> bool:
    """Whether the record was touched so lately that its process may still run.

    Raises:
        OSError: nothing can be written to the folder.
    """
    touched = _touched(folder)
    return touched is not None and _server_time(folder) - touched[0] / 1e9 <= _RECENT_SECONDS


def beats_on(folder: Path) -> bool:
    """Whether the record is touched again, or replaced, within a few beats.

    Raises:
        OSError: nothing can be written to the folder.
    """
    before, deadline = _touched(folder), time.monotonic() + _WATCH_SECONDS
    while time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        _server_time(folder)  # a client of an NFS looks again after a change of its own
        now = _touched(folder)
        if now != before:
            return now is not None
    return False


def _touched(folder: Path) -> tuple[int, int] | None:
    """When the record was touched, in nanoseconds, and which file it is; None where none is."""
    try:
        # An NFS tells who opens a file what it is like now, and who only asks what it was like.
        descriptor = os.open(folder / RECORD, os.O_RDONLY)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        return status.st_mtime_ns, status.st_ino
    finally:
        os.close(descriptor)


def _server_time(folder: Path) -> float:
    """Seconds since 1970, of the clock that the times of files in the folder are of."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=atomic.TEMPORARY_PREFIX) as file:
        return os.fstat(file.fileno()).st_mtime


def _born(pid: int) -> str:
    """When a process of this system started, in ticks since the system did; empty if it ended."""
    try:
        # The name, in parentheses, may have blanks and parentheses of its own.
        facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return ""
    return "" if facts[0] in "ZX" else facts[19]


def _pids() -> str:
    with contextlib.suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return ""


def _shown(text: str) -> str:
    line = one_printable_line(text)
    return line if len(line) <= 2 * _LONGEST_COMMAND else f"{line[: 2 * _LONGEST_COMMAND]}..."
