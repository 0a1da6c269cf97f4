"""Processes that live and die together: started, watched, killed and always reaped.

Each has a session, and so a process group, of its own: what a process starts is ended with it, and
Ctrl-C in a terminal reaches the owner of the gang alone, which decides what becomes of the others.
An owner uses its gang from one thread.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_POLL_SECONDS = 0.02

# A process that outlives an owner killed by SIGKILL, and then ends the groups that still live. A
# group's number comes once when it starts and once more when it has ended. Linux's "parent death
# signal" would spare their children, and Python cannot set it safely beside threads. Schedulers
# that end a job signal all its processes: the guard must outlive its owner's last minute.
_GUARD = """
import os, signal, sys
for name in ("SIGHUP", "SIGINT", "SIGTERM"):
    signal.signal(getattr(signal, name), signal.SIG_IGN)
groups = set()
for line in sys.stdin:
    groups ^= {int(line)}
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""
_GUARD_COMMAND = [sys.executable, "-I", "-S", "-c", _GUARD]


@dataclass(frozen=True)
class Streams:
    """What a process reads and where it writes, in the words of `subprocess.Popen`.

    Args:
        stdin: nothing by default, because a terminal answers only to the group in front.
        stdout: the owner's by default.
        stderr: the owner's by default.
    """

    stdin: int | IO[Any] | None = subprocess.DEVNULL
    stdout: int | IO[Any] | None = None
    stderr: int | IO[Any] | None = None


_QUIET = Streams()


class Gang(contextlib.AbstractContextManager["Gang"]):
    """Processes that are all ended when the context ends, or, if it is killed, their owner."""

    def __init__(self) -> None:
        """Starts the guard, and no member yet; whoever doesn't enter the context calls `end`."""
        self._guard = _Guard()
        self._members: list[Member] = []

    def start(
        self,
        command: Sequence[str],
        *,
        environ: Mapping[str, str] | None = None,
        folder: Path | None = None,
        streams: Streams = _QUIET,
    ) -> "Member":
        """Starts one more process.

        Args:
            command: program and arguments; no shell reads them.
            environ: its environment; this process's if None.
            folder: where it runs; this process's if None.
            streams: what it reads and where it writes.

        Raises:
            OSError: there is no such program, or no room for another process.
        """
        process = subprocess.Popen(
            list(command),
            cwd=folder,
            env=None if environ is None else dict(environ),
            stdin=streams.stdin,
            stdout=streams.stdout,
            stderr=streams.stderr,
            bufsize=0,  # what couldn't be written must not be left over in a buffer
            start_new_session=True,
        )
        member = Member(process, self._guard)
        self._members.append(member)
        return member

    def end(self) -> None:
        """Kills and reaps every member; TensorFlow's workers don't end by a gentler signal."""
        for member in self._members:
            member.send(signal.SIGKILL)
        for member in self._members:
            member.kill()
        # Not if one of the lines above is interrupted: then the guard does their work at the end.
        self._guard.end()

    def __exit__(self, *error: object) -> None:
        """Ends every member, whatever happened."""
        self.end()


class Member:
    """One process of a gang, with all that it starts.

    Its number is its group's too, and the system may give it to another process as soon as this
    one is reaped. So a process that has ended is looked at without reaping it, what it left behind
    is killed, and only then it is reaped; nothing is sent to the number from then on.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", guard: "_Guard") -> None:
        """Puts a process, which was started in a session of its own, on the guard's list."""
        self._process = process
        self._guard = guard
        self._is_reaped = False
        guard.tell(process.pid)

    @property
    def pid(self) -> int:
        """Number of the process and of its group; another's, maybe, once this one has ended."""
        return self._process.pid

    @property
    def stdin(self) -> IO[bytes] | None:
        """Its input if that is a pipe, without a buffer; closed when the process is reaped."""
        return self._process.stdin

    @property
    def stdout(self) -> IO[bytes] | None:
        """Its output if that is a pipe, without a buffer; whoever reads it closes it."""
        return self._process.stdout

    @property
    def stderr(self) -> IO[bytes] | None:
        """Its standard error if that is a pipe of its own; whoever reads it closes it."""
        return self._process.stderr

    def poll(self) -> int | None:
        """Its exit code, negative for a signal, or None while it runs.

        The first time that there is a code, what the process left behind in its group is killed.
        """
        if self._is_reaped:
            return self._process.returncode
        try:
            if _has_ended(self._process):
                self._signal(signal.SIGKILL)
                self._reap()
        except ChildProcessError:
            # The system did, as it does where SIGCHLD is ignored: the number may be another's.
            self._reap()
        return self._process.returncode

    def is_stopped(self) -> bool:
        """Whether somebody has stopped the process, which does nothing until it is continued."""
        if self._is_reaped or not hasattr(os, "waitid"):
            return False
        how = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
        with contextlib.suppress(ChildProcessError):
            return os.waitid(os.P_PID, self._process.pid, how) is not None
        return False

    def wait(self, deadline: float) -> int | None:
        """What `poll` gives as soon as the process has ended; None at the deadline.

        Args:
            deadline: of `time.monotonic`.
        """
        while (code := self.poll()) is None and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return code

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the process and what it started, if it runs."""
        if self.poll() is None:
            self._signal(number)

    def kill(self) -> None:
        """Ends the process and what it started, at once, and reaps it."""
        self.send(signal.SIGKILL)
        if not self._is_reaped:
            self._reap()

    def _signal(self, number: signal.Signals) -> None:
        # A group without processes is no error; macOS answers "not permitted" for one of zombies.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _reap(self) -> None:
        """Waits for a process that was killed; the guard has to forget its number before that."""
        self._is_reaped = True
        self._guard.tell(self._process.pid)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    """Whether it has; it isn't reaped, so that its number stays its own."""
    if not hasattr(os, "waitid"):
        # macOS before Python 3.13 can't look without reaping: the kill comes an instant later.
        return process.poll() is not None
    how = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, process.pid, how) is not None


class _Guard:
    """The process that ends the groups on its list when this process has ended without doing it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            _GUARD_COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
        )

    def tell(self, group: int) -> None:
        """Puts a group on the list, or takes it off."""
        if self._process.stdin is not None:
            # Somebody may have killed the guard; that must not end what it guards.
            with contextlib.suppress(OSError):
                self._process.stdin.write(f"{group}\n".encode())

    def end(self) -> None:
        """Ends the guard, which has nobody left to guard."""
        self._process.kill()
        self._process.communicate()
