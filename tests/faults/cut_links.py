"""Two workers in network namespaces lose their link in the middle of a step, and get it back (R5).

    .venv/bin/python -m tests.faults.cut_links --runs=3

Each has a supervisor of its own. Printed are seconds from the cut until both workers are out, and
from the link's return to the next new step. The exit code is 1 if a limit was missed, a supervisor
gave up, or the result isn't that of a run without a break. It needs root, `ip` and `tc`.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.faults import costs
from tests.faults.costs import say
from tests.faults.lost_workers import port_of
from tests.faults.runs import flags, result
from tests.jobs.workers import ROOT, _environment
from tests.sweeper import begin_session
from tfscale.bench import links
from tfscale.supervise.gang import Gang, Streams

LIMIT_SECONDS = 15.0
FLAGS = ("--step_timeout=60", "--start_timeout=30", "--model_option=step_seconds=0.05")
_STEP = 8  # after which the link is cut
_APART_SECONDS = 3.0  # for which it stays so when both are out: the next attempt finds nobody
_DEADLINE_SECONDS = 120.0  # of each part
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Outcome:
    """Of one run.

    Args:
        out: seconds until both workers were out; None if they weren't.
        back: seconds from the link's return to the first new step; None if there was none.
        problems: what else wasn't as it should be.
        said: the end of what each supervisor has said.
    """

    out: float | None
    back: float | None
    problems: list[str]
    said: list[str]


@dataclass(frozen=True)
class _Job:
    """Two supervisors that run.

    Args:
        members: of a gang.
        logs: of each.
        port: what stands in front of what is done to the link of worker 1.
    """

    members: list
    logs: list[Path]
    port: list[str]

    def codes(self):
        """How both have ended; waits for that."""
        _seconds_until(lambda: all(member.poll() is not None for member in self.members))
        return [member.poll() for member in self.members]


@contextlib.contextmanager
def _job(folder, *more):
    folder.mkdir()
    words = [*flags(folder), *FLAGS, *more, f"--model_option=times_file={folder / 'times'}"]
    with contextlib.ExitStack() as stack:
        link = stack.enter_context(links.shaped(2, 1_000))
        gang = stack.enter_context(Gang())
        logs, members = [folder / f"{rank}.log" for rank in range(2)], []
        for rank, log in enumerate(logs):
            out = stack.enter_context(log.open("wb"))
            command = [*link.command(rank), sys.executable, "launch/worker.py", *words]
            command += [f"--hosts={','.join(link.hosts(2))}", f"--index={rank}"]
            environ = _environment() | {"TMPDIR": str(folder)}
            streams = Streams(stdout=out, stderr=out)
            members.append(gang.start(command, environ=environ, folder=ROOT, streams=streams))
        yield _Job(members, logs, port_of(link, 1))


def clean(folder):
    """What `runs.result` gives of a run without a break, on the same links.

    Raises:
        RuntimeError: it has failed.
    """
    with _job(folder) as job:
        if job.codes() != [0, 0]:
            raise RuntimeError(f"no run without a break: {[log.read_text() for log in job.logs]}")
    return result(folder)


def play(folder, clean_result, *, heartbeat_timeout=4.0):
    """Trains with a cut, and compares.

    Args:
        folder: a new one.
        clean_result: what `clean` gives.
        heartbeat_timeout: seconds.
    """
    more = ["--restarts=3", f"--heartbeat_timeout={heartbeat_timeout}"]
    with _job(folder, *more, "--checkpoint_every_steps=4") as job:
        times = folder / "times"
        _seconds_until(lambda: _steps(times) >= _STEP)
        subprocess.run([*job.port, "nomaster"], check=True)
        ended = [folder / "run" / "attempts" / f"worker-{rank}.1.json" for rank in range(2)]
        out = _seconds_until(lambda: all(path.exists() for path in ended))
        time.sleep(_APART_SECONDS)
        done = _steps(times)
        subprocess.run([*job.port, "master", "bridge"], check=True)
        back = _seconds_until(lambda: _steps(times) > done)
        codes = job.codes()
    problems = [f"supervisors ended with {codes}"] * (codes != [0, 0])
    if not problems:
        problems += _differences(clean_result, result(folder))
        causes = [json.loads(path.read_text())["cause"] for path in ended]
        problems += [f"no word of it: {cause}" for cause in causes if "orker" not in cause]
    return Outcome(out, back, problems, [log.read_text()[-2000:] for log in job.logs])


def _seconds_until(is_so):
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > _DEADLINE_SECONDS:
            return None
        time.sleep(_POLL_SECONDS)
    return time.monotonic() - began


def _steps(times):
    """The highest step that is over."""
    with contextlib.suppress(OSError):
        return max((int(line.split()[0]) for line in times.read_text().splitlines()), default=0)
    return 0


def _differences(clean, found):
    problems = ["another SHA-256 of the weights"] * (clean[0] != found[0])
    problems += [f"other losses: {name}" for name in clean[1] if clean[1][name] != found[1][name]]
    return problems + [f"{found[2]['starts']} starts"] * (found[2]["starts"] < 2)


def main():
    """Plays all, and prints what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    begin_session()
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="tfscale-cut-") as temporary:
        wanted = clean(Path(temporary, "clean"))
        for number in range(given.runs):
            outcomes.append(play(Path(temporary, str(number)), wanted, heartbeat_timeout=10.0))
    out, back = (
        [seconds for one in outcomes if (seconds := getattr(one, name)) is not None]
        for name in ("out", "back")
    )
    late = len([seconds for seconds in out if seconds > LIMIT_SECONDS]) + given.runs - len(out)
    failures = [problem for one in outcomes for problem in one.problems]
    say(f"{'seconds':44}{'runs':>6}{'min':>9}{'median':>9}{'max':>9}{'limit':>7}{'late':>6}")
    limit = f"{LIMIT_SECONDS:7.0f}{late:6}"
    say(f"{'from a cut until both workers are out':44}{len(out):6}{costs.figures(out)}{limit}")
    say(f"{'from its return to the first new step':44}{len(back):6}{costs.figures(back)}")
    say(f"failures: {len(failures)}")
    for failure in failures:
        say(f"    {failure}")
    sys.exit(int(bool(late or failures or len(back) < given.runs)))


if __name__ == "__main__":
    main()
