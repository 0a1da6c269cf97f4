"""Workers of this machine in one terminal, from the first start to the last end."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from tfscale.supervise.echo import Echo, echo
from tfscale.supervise.gang import Gang, Member, Streams

GRACE_SECONDS = 15.0
_POLL_SECONDS = 0.02


def run_together(
    commands: Sequence[Sequence[str]],
    *,
    environ: Mapping[str, str],
    run_dir: Path | None = None,
    grace_seconds: float = GRACE_SECONDS,
) -> int:
    """Runs the commands side by side until all have ended; nothing of them lives on.

    A single command has the terminal to itself. The lines of several are echoed with `[index] ` in
    front, and filed in `RUN_DIR/logs/launch-INDEX.log` once a worker has made `run_dir`.
    When one fails, the others have `grace_seconds` to end before they are killed. SIGINT and
    SIGTERM are passed on as SIGTERM, with the same grace.

    Returns:
        What a shell would: the code of the first that failed (128 + signal for a killed one), 130
        or 143 after SIGINT or SIGTERM, else 0.

    Raises:
        OSError: a command can't be started; those that were are ended.
    """
    received: list[int] = []
    is_alone = len(commands) == 1
    # All before the first start: each asks whether RUN_DIR is there already.
    echoes = [] if is_alone else [Echo(index, run_dir) for index in range(len(commands))]
    with _signals_kept_in(received), contextlib.ExitStack() as stack:
        for each in echoes:  # closed when the gang below has ended
            stack.callback(each.close)
        gang = stack.enter_context(Gang())
        if is_alone:
            members = [gang.start(commands[0], environ=environ)]
        else:
            pairs = zip(commands, echoes, strict=True)
            members = [_started(gang, command, environ, each) for command, each in pairs]
        return _wait(members, received, grace_seconds)


def _started(
    gang: Gang, command: Sequence[str], environ: Mapping[str, str], output: Echo
) -> Member:
    """Starts one of several workers, whose lines are echoed."""
    member = gang.start(
        command,
        # Without it Python keeps piped lines back, and those of a killed worker are lost.
        environ={**environ, "PYTHONUNBUFFERED": "1"},
        streams=Streams(stdout=subprocess.PIPE, stderr=subprocess.STDOUT),
    )
    if member.stdout is not None:
        output.read(member.stdout)
    return member


def _wait(members: Sequence[Member], received: Sequence[int], grace_seconds: float) -> int:
    """Waits for the end of all, and sees to it once one has failed or a signal came."""
    failure, deadline, passed_on = 0, None, False
    while True:
        codes = [member.poll() for member in members]
        failure = failure or next((code for code in codes if code), 0)
        if None not in codes:
            break
        if deadline is None and (failure or received):
            deadline = time.monotonic() + grace_seconds
            if len(members) > 1:
                reason = _reason(failure, received)
                echo(f"[launch] {reason}; the rest has {grace_seconds:g} s to end\n")
        if received and not passed_on:
            passed_on = True
            for member in members:
                member.send(signal.SIGTERM)
        if deadline is not None and time.monotonic() >= deadline:
            for member in members:
                member.send(signal.SIGKILL)
        time.sleep(_POLL_SECONDS)
    if received:
        return 128 + received[0]
    return 128 - failure if failure < 0 else failure


def _reason(failure: int, received: Sequence[int]) -> str:
    if received:
        return f"{signal.Signals(received[0]).name} came"
    ended_by = f"signal {-failure}" if failure < 0 else f"exit code {failure}"
    return f"A worker ended with {ended_by}"


@contextlib.contextmanager
def _signals_kept_in(received: list[int]) -> Iterator[None]:
    """Notes SIGINT and SIGTERM in a list instead of being ended by them."""

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        received.append(number)

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
