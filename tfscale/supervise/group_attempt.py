"""Workers of this machine in one terminal, from the first start to the last end: one attempt."""

import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tfscale.errors import CONFIG_CODE, START_TIMEOUT_CODE, End, is_retryable, shell_code
from tfscale.process.stop_request import StopWish
from tfscale.process.temporary import kept_log
from tfscale.startup.environment import END_RECORD
from tfscale.supervise.attempts import Attempt
from tfscale.supervise.echo import Echo, echo
from tfscale.supervise.gang import Gang, Member, Streams

FAILING_SECONDS = 15.0  # a dead worker shows on the others after 5 to 11 s
SAVING_SECONDS = 30.0  # what Kubernetes gives a pod, and Slurm a job by default (KillWait)
_POLL_SECONDS = 0.02
_DEAD_SECONDS = 10.0  # after which a killed process should be gone


@dataclass(frozen=True)
class Launch:
    """What is started, and how long it has to end.

    Args:
        commands: gives those of an attempt; told whether it resumes from a checkpoint of an
            earlier one.
        environ: of every worker.
        run_dir: the run's folder; None if nothing is to be filed.
        worker: index of the first worker that is started here.
        has_peers: whether other nodes' supervisors take part in the run.
        failing_seconds: once a worker has failed, the others have these to say their own reason.
        saving_seconds: once all were told to stop, they have these to save.
    """

    commands: Callable[[bool], Sequence[Sequence[str]]]
    environ: Mapping[str, str]
    run_dir: Path | None = None
    worker: int = 0
    has_peers: bool = False
    failing_seconds: float = FAILING_SECONDS
    saving_seconds: float = SAVING_SECONDS


@dataclass(frozen=True)
class Ended:
    """How the workers of an attempt ended.

    Args:
        codes: a shell's exit code of each worker.
        end: the one that decides: of the first worker that failed, unless another says that
            trying again is useless; code 0 if none failed.
        cause: who that was, and its own last line, for people.
        is_said: whether that line was the last in the terminal.
    """

    codes: tuple[int, ...]
    end: End
    cause: str
    is_said: bool

    @property
    def code(self) -> int:
        """The exit code that decides."""
        return self.end.code


def say(text: str, *, is_alone: bool) -> None:
    """Says something of the launcher's own: beside several workers' lines, or a worker's error."""
    echo(f"[launch] {text}\n", sys.stderr if is_alone else sys.stdout)


def run_once(
    commands: Sequence[Sequence[str]],
    launch: Launch,
    stop: StopWish,
    *,
    is_heard: bool,
    peer: Callable[[], Attempt | None],
) -> Ended:
    """Runs the commands side by side until all have ended; nothing of them lives on.

    A single command has the terminal to itself. The lines of several are echoed with `[index] ` in
    front, and filed in `RUN_DIR/logs/launch-INDEX.log` once a worker has made the folder.

    Args:
        commands: of the workers.
        launch: what they have in common.
        stop: passed on once, as SIGTERM.
        is_heard: whether the standard error of a single command is read on its way.
        peer: gives the final end of another node's supervisor, if there was one.

    Raises:
        OSError: a command can't be started; those that were are ended.
    """
    is_alone = len(commands) == 1
    echoes = [
        Echo(None if is_alone else launch.worker + place, launch.run_dir)
        for place in range(len(commands))
    ]
    with contextlib.ExitStack() as stack:
        # On this machine, whatever disks the nodes share; outlasts the workers.
        ends = tempfile.TemporaryDirectory(prefix="tfscale-", ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(ends))
        records = [folder / f"{place}.json" for place in range(len(commands))]
        for each in echoes:  # closed when the gang below has ended
            stack.callback(each.close)
        gang = stack.enter_context(Gang())
        streams = _streams(is_alone=is_alone, is_heard=is_heard)
        members = [
            _start(gang, each, {**launch.environ, END_RECORD: str(record)}, streams, output)
            for each, record, output in zip(commands, records, echoes, strict=True)
        ]
        watch = _Watch(members, launch, stop, peer)
        watch.until_all_have_ended()
        told = [_read_record(record) for record in records]
    return watch.ended(echoes, told)


def _streams(*, is_alone: bool, is_heard: bool) -> Streams:
    if not is_alone:
        return Streams(stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    # Its progress bar needs the terminal; the reason of its end comes by the standard error.
    return Streams(stderr=subprocess.PIPE) if is_heard else Streams()


def _read_record(record: Path) -> End | None:
    """What a worker has written of its end; None if it has not, or not all of it."""
    with contextlib.suppress(OSError, ValueError):
        return End.of_text(record.read_text(encoding="utf-8"))
    return None


def _start(
    gang: Gang, command: Sequence[str], environ: dict[str, str], streams: Streams, output: Echo
) -> Member:
    """Starts a worker; lines that come by a pipe are echoed."""
    if streams.stdout is not None:
        # Without it Python keeps piped lines back, and those of a killed worker are lost.
        environ["PYTHONUNBUFFERED"] = "1"
    member = gang.start(command, environ=environ, streams=streams)
    pipe = member.stderr if streams.stdout is None else member.stdout
    if pipe is not None:
        output.read(pipe)
    return member


@dataclass
class _Watch:
    """Waits for the end of all, and sees to it once one has failed or is to stop."""

    members: Sequence[Member]
    launch: Launch
    stop: StopWish
    peer: Callable[[], Attempt | None]
    failed: list[int] = field(default_factory=list)  # places, in the order of their ends
    deadline: float | None = None
    is_told: bool = False
    is_complained: bool = False

    def until_all_have_ended(self) -> None:
        while True:
            codes = [member.poll() for member in self.members]
            new = [place for place, code in enumerate(codes) if code and place not in self.failed]
            self.failed += sorted(new, key=lambda place: (codes[place] or 0) >= 0)
            if None not in codes:
                return
            self._see_to_it()
            time.sleep(_POLL_SECONDS)

    def _see_to_it(self) -> None:
        now = time.monotonic()
        if self.stop.signal and not self.is_told:
            self._tell(now)
        elif self.failed and self.deadline is None:
            self.deadline = now + self.launch.failing_seconds
            if len(self.members) > 1:
                how = _how(self.members[self.failed[0]].poll() or 0)
                seconds = f"{self.launch.failing_seconds:g}"
                self._say(f"{self._name(self.failed[0])} {how}; the rest has {seconds} s to end")
        elif self.deadline is None and (end := self.peer()) is not None:
            self.deadline = now + self.launch.failing_seconds
            if not is_retryable(end.exit_code) and end.exit_code != CONFIG_CODE:
                self.deadline = now + self.launch.saving_seconds  # all save then
            self._say(f"the supervisor of worker {end.worker} has ended for good")
        if self.stop.is_urgent or (self.deadline is not None and now >= self.deadline):
            self._kill(now)
        elif self.failed and not self.is_told:
            for member in self.members:
                if member.is_stopped():  # it has nothing to say, and would take all the time
                    member.send(signal.SIGKILL)

    def _tell(self, now: float) -> None:
        """Tells all to save and end; once, because for them a second signal is another word."""
        self.is_told = True
        seconds = self.launch.saving_seconds
        if self.deadline is None:
            self.deadline = now + seconds
        name = self.stop.signal.name if self.stop.signal else ""
        self._say(
            f"{name} came; {self._who()} {seconds:g} s to save and end (a second signal kills)"
        )
        for member in self.members:
            member.send(signal.SIGTERM)
            member.send(signal.SIGCONT)  # somebody may have stopped it

    def _kill(self, now: float) -> None:
        for member in self.members:
            member.send(signal.SIGKILL)
        self.deadline = min(now, self.deadline or now)
        if now >= self.deadline + _DEAD_SECONDS and not self.is_complained:
            self.is_complained = True
            left = [str(member.pid) for member in self.members if member.poll() is None]
            self._say(f"killed, but held by the system (a device, a disk): {', '.join(left)}")

    def ended(self, echoes: Sequence[Echo], told: Sequence[End | None]) -> Ended:
        codes = tuple(shell_code(member.poll() or 0) for member in self.members)
        if not self.failed:
            return Ended(codes, End.of(0), "", is_said=False)
        final = [place for place in self.failed if not is_retryable(codes[place])]
        useless = [place for place in final if codes[place] == CONFIG_CODE]
        place = (useless or final or self.failed)[0]
        returned, line = self.members[place].poll() or 0, echoes[place].last_line
        cause = f"{self._name(place)} {_how(returned)}"
        end = told[place]
        if end is None or end.code != codes[place]:  # killed before it was so far, or afterwards
            end = End.of(codes[place])
        # What a killed process said last is no reason.
        has_said = returned > 0 and bool(line)
        if returned < 0 and (log := kept_log(self.members[place].pid)):
            cause += f" (more in {log})"
        return Ended(
            codes,
            end,
            f"{cause}: {line}" if has_said else cause,
            is_said=has_said and len(codes) == 1,
        )

    def _who(self) -> str:
        return "the worker has" if len(self.members) == 1 else "the workers have"

    def _name(self, place: int) -> str:
        return f"worker {self.launch.worker + place}"

    def _say(self, text: str) -> None:
        say(text, is_alone=len(self.members) == 1)


def _how(code: int) -> str:
    """How a process ended, by what the system says of it."""
    if code < 0:
        try:
            return f"was ended by {signal.Signals(-code).name}"
        except ValueError:  # a real-time signal has a number only
            return f"was ended by signal {-code}"
    about = " (the others did not come)" if code == START_TIMEOUT_CODE else ""
    return f"ended with exit code {code}{about}"
