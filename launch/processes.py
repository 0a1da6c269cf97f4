"""Processes that live and die together: started, echoed, logged, ended and always reaped.

Each has a process group of its own, so that what it starts is ended with it, and so that Ctrl-C
in the terminal reaches the launcher alone, which passes it on in order.
"""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from tfscale.cluster.ports import free_addresses

GRACE_SECONDS = 15.0
_POLL_SECONDS = 0.02

# A process that outlives a launcher killed by SIGKILL, and then ends the groups that still live. A
# group's number comes once when it starts and once more when it has ended. Linux's "parent death
# signal" would spare their children, and Python cannot set it safely beside threads.
_GUARD = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    groups ^= {int(line)}
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""


def worker_commands(
    program: Path, worker_flags: Sequence[str], *, num_workers: int, devices: int = 0
) -> list[list[str]]:
    """Give the command of every worker: `program` with its place in the cluster and the flags.

    Args:
        program: path of `worker.py`.
        worker_flags: what all workers get alike.
        num_workers: one worker alone needs no address and gets none.
        devices: devices of each worker; 0 leaves the flag out.
    """
    addresses = free_addresses(num_workers) if num_workers > 1 else []
    # In front of the user's flags, because absl reads none after the first stray word.
    shared = [sys.executable, str(program), *([f"--hosts={','.join(addresses)}"] * bool(addresses))]
    rest = [*([f"--devices={devices}"] * bool(devices)), *worker_flags]
    if num_workers == 1:
        return [[*shared, *rest]]
    return [[*shared, f"--index={index}", *rest] for index in range(num_workers)]


def run_dir_of(worker_flags: Sequence[str]) -> Path | None:
    """Give the folder of `--run_dir=X` or `--run_dir X`, the last one as in absl; None without."""
    found = ""
    for flag, following in itertools.pairwise([*worker_flags, ""]):
        name, equals, value = flag.partition("=")
        if name in ("--run_dir", "-run_dir"):
            found = value if equals else following
    return Path(found) if found else None


def run_together(
    commands: Sequence[Sequence[str]],
    *,
    environ: Mapping[str, str],
    run_dir: Path | None = None,
    grace_seconds: float = GRACE_SECONDS,
) -> int:
    """Run the commands side by side until all have ended; nothing of them lives on.

    A single command has the terminal to itself. The lines of several are echoed with `[index] ` in
    front, and filed in `RUN_DIR/logs/launch-INDEX.log` once a worker has made `run_dir`.
    When one fails, the others have `grace_seconds` to end before they are killed. SIGINT and
    SIGTERM are passed on as SIGTERM, with the same grace.

    Returns:
        What a shell would: the code of the first that failed (128 + signal for a killed one), 130
        or 143 after SIGINT or SIGTERM, else 0.
    """
    received: list[int] = []
    workers: list[_Worker] = []
    # All before the first start: each asks whether RUN_DIR is there already.
    outputs = [_Output(index, run_dir) for index in range(len(commands))]
    with _signals_kept_in(received), _guard() as guard:
        try:
            for command, output in zip(commands, outputs, strict=True):
                alone = len(commands) == 1
                workers.append(_Worker(command, environ, None if alone else output, guard))
            return _wait(workers, received, grace_seconds)
        finally:
            for worker in workers:
                worker.end()


def _wait(workers: Sequence["_Worker"], received: Sequence[int], grace_seconds: float) -> int:
    failure, deadline, passed_on = 0, None, False
    while True:
        codes = [worker.poll() for worker in workers]
        failure = failure or next((code for code in codes if code), 0)
        if None not in codes:
            break
        if deadline is None and (failure or received):
            deadline = time.monotonic() + grace_seconds
            _say(f"{_reason(failure, received)}; the rest has {grace_seconds:g} s to end", workers)
        if received and not passed_on:
            passed_on = True
            for worker in workers:
                worker.send(signal.SIGTERM)
        if deadline is not None and time.monotonic() >= deadline:
            for worker in workers:
                worker.send(signal.SIGKILL)
        time.sleep(_POLL_SECONDS)
    if received:
        return 128 + received[0]
    return 128 - failure if failure < 0 else failure


def _reason(failure: int, received: Sequence[int]) -> str:
    if received:
        return f"{signal.Signals(received[0]).name} came"
    ended_by = f"signal {-failure}" if failure < 0 else f"exit code {failure}"
    return f"A worker ended with {ended_by}"


def _say(text: str, workers: Sequence["_Worker"]) -> None:
    if len(workers) > 1:
        _echo(f"[launch] {text}\n")


def _echo(text: str) -> None:
    # A reader that is gone (`| head`) must not stop the training: its log goes on.
    with contextlib.suppress(OSError, ValueError):
        # One write a line, so that the lines of different threads stay whole.
        sys.stdout.write(text)
        sys.stdout.flush()


class _Output:
    """Where the lines of one worker go: to the terminal, and to its log as soon as it may be there.

    A launcher that made RUN_DIR, or wrote into one that the workers are about to check or to
    overwrite, would be in their way. So lines wait in memory until a worker has made it; where it
    was there before, they wait until the worker has ended.
    """

    def __init__(self, index: int, run_dir: Path | None) -> None:
        self._prefix = f"[{index}] "
        self._path = run_dir / "logs" / f"launch-{index}.log" if run_dir else None
        self._wait_for_end = run_dir is not None and run_dir.exists()
        self._waiting: list[str] = []

    def line(self, text: str) -> None:
        _echo(self._prefix + text.rstrip("\n") + "\n")
        self._waiting.append(text)
        if not self._wait_for_end:
            self.file()

    def file(self) -> None:
        """Append the lines that wait, if RUN_DIR is there."""
        if self._path is None:
            self._waiting.clear()
            return
        # A full disk must not stop the training; what does not fit was echoed.
        with contextlib.suppress(OSError):
            if self._path.parent.parent.is_dir():
                self._path.parent.mkdir(exist_ok=True)
                lines, self._waiting = self._waiting, []
                with self._path.open("a", encoding="utf-8") as file:
                    file.writelines(lines)


class _Worker:
    """One process with its group, its output and its place on the guard's list."""

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        output: _Output | None,
        guard: "subprocess.Popen[str]",
    ) -> None:
        self._guard = guard
        self._output = output
        self._process = subprocess.Popen(
            list(command),
            # Without it Python keeps piped lines back, and those of a killed worker are lost.
            env=dict(environ) | ({} if output is None else {"PYTHONUNBUFFERED": "1"}),
            stdin=subprocess.DEVNULL,  # a terminal answers only to the group in front
            stdout=None if output is None else subprocess.PIPE,
            stderr=None if output is None else subprocess.STDOUT,
            # Text mode takes \r for an end of line too: every state of a progress bar is a line.
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        self._lives = True
        self._tell_guard()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def poll(self) -> int | None:
        """Give the exit code, or None; the first time there is one, end what it left behind."""
        code = self._process.poll()
        if code is not None and self._lives:
            # At once, because the system may give the number to another process later.
            self.send(signal.SIGKILL)
            self._lives = False
            self._tell_guard()
        return code

    def send(self, number: signal.Signals) -> None:
        # An ended group is no error; macOS answers "not permitted" for one of zombies.
        if self._lives:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def end(self) -> None:
        """Kill the group if it lives, reap it, and wait for its last lines."""
        if self.poll() is None:
            self.send(signal.SIGKILL)
            self._process.wait()
            self.poll()
        # Bounded, because a process that left the group may hold the pipe.
        self._reader.join(timeout=5)
        if self._output is not None:
            self._output.file()

    def _read(self) -> None:
        if self._process.stdout is not None and self._output is not None:
            with self._process.stdout as lines:
                for line in lines:
                    self._output.line(line)

    def _tell_guard(self) -> None:
        if self._guard.stdin is not None:
            with contextlib.suppress(OSError):
                self._guard.stdin.write(f"{self._process.pid}\n")
                self._guard.stdin.flush()


@contextlib.contextmanager
def _guard() -> Iterator["subprocess.Popen[str]"]:
    """Keep a guard that ends the groups it was told of, should this process be killed."""
    guard = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _GUARD],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        yield guard
    finally:
        guard.kill()
        guard.communicate()


@contextlib.contextmanager
def _signals_kept_in(received: list[int]) -> Iterator[None]:
    """Note SIGINT and SIGTERM in a list instead of being ended by them."""

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        received.append(number)

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
