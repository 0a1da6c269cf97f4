"""Two workers of a small training, each with a supervisor of its own, as on two nodes."""

import contextlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.faults.long_run import steps_in
from tests.faults.runs import flags
from tests.jobs.workers import ROOT, _environment
from tfscale.supervise.gang import Gang, Streams

_DEADLINE_SECONDS = 120.0  # of each part
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Job:
    """Two supervisors that run.

    Args:
        members: of a gang, by their rank.
        logs: of each.
        times: file to which the chief writes its steps.
    """

    members: list
    logs: list[Path]
    times: Path

    @property
    def steps(self):
        """Each step that is over, also those that were taken again."""
        with contextlib.suppress(OSError):
            return steps_in(self.times)
        return []

    def last_step(self):
        """The highest step that is over."""
        return max((step.number for step in self.steps), default=0)

    def codes(self):
        """How both have ended; waits for that."""
        seconds_until(lambda: all(member.poll() is not None for member in self.members))
        return [member.poll() for member in self.members]

    def said(self):
        """The end of what each supervisor has said."""
        return [log.read_text()[-2000:] for log in self.logs]


@contextlib.contextmanager
def started(folder, addresses, *more, prefixes=((), ())):
    """Runs them while the body lasts.

    Args:
        folder: of the run.
        addresses: of both workers.
        more: flags of both.
        prefixes: words in front of each one's command.
    """
    folder.mkdir(exist_ok=True)
    times = folder / "times"
    words = [*flags(folder), *more, f"--model_option=times_file={times}"]
    with contextlib.ExitStack() as stack:
        gang = stack.enter_context(Gang())
        logs, members = [folder / f"{rank}.log" for rank in range(2)], []
        for rank, log in enumerate(logs):
            out = stack.enter_context(log.open("wb"))
            command = [*prefixes[rank], sys.executable, "launch/worker.py", *words]
            command += [f"--hosts={','.join(addresses)}", f"--index={rank}"]
            environ = _environment() | {"TMPDIR": str(folder)}
            streams = Streams(stdout=out, stderr=out)
            members.append(gang.start(command, environ=environ, folder=ROOT, streams=streams))
        yield Job(members, logs, times)


def differences(clean, found):
    """What isn't as in a run without a break, or that there was none; of `runs.result`."""
    problems = ["another SHA-256 of the weights"] * (clean[0] != found[0])
    problems += [f"other losses: {name}" for name in clean[1] if clean[1][name] != found[1][name]]
    return problems + [f"{found[2]['starts']} starts"] * (found[2]["starts"] < 2)


def seconds_until(is_so):
    """How long it took; None if it wasn't so until the deadline."""
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > _DEADLINE_SECONDS:
            return None
        time.sleep(_POLL_SECONDS)
    return time.monotonic() - began
