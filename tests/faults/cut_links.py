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
from tests.faults.runs import result
from tests.faults.supervisors import differences, seconds_until, started
from tests.sweeper import begin_session
from tools.bench import links

LIMIT_SECONDS = 15.0
FLAGS = ("--step_timeout=60", "--start_timeout=30", "--model_option=step_seconds=0.05")
_STEP = 8  # after which the link is cut
_APART_SECONDS = 3.0  # for which it stays so when both are out: the next attempt finds nobody


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


@contextlib.contextmanager
def _job(folder, *more):
    """Two supervisors that run, and what stands in front of what is done to worker 1's link."""
    with contextlib.ExitStack() as stack:
        link = stack.enter_context(links.shaped(2, 1_000))
        prefixes = [link.command(rank) for rank in range(2)]
        job = started(folder, link.hosts(2), *FLAGS, *more, prefixes=prefixes)
        yield stack.enter_context(job), port_of(link, 1)


def clean(folder):
    """What `runs.result` gives of a run without a break, on the same links.

    Raises:
        RuntimeError: it has failed.
    """
    with _job(folder) as (job, _):
        if job.codes() != [0, 0]:
            raise RuntimeError(f"no run without a break: {job.said()}")
    return result(folder)


def play(folder, clean_result, *, heartbeat_timeout=4.0):
    """Trains with a cut, and compares.

    Args:
        folder: a new one.
        clean_result: what `clean` gives.
        heartbeat_timeout: seconds.
    """
    more = ["--restarts=3", f"--heartbeat_timeout={heartbeat_timeout}"]
    with _job(folder, *more, "--checkpoint_every_steps=4") as (job, port):
        seconds_until(lambda: job.last_step() >= _STEP)
        subprocess.run([*port, "nomaster"], check=True)
        ended = [folder / "run" / "attempts" / f"worker-{rank}.1.json" for rank in range(2)]
        out = seconds_until(lambda: all(path.exists() for path in ended))
        time.sleep(_APART_SECONDS)
        done = job.last_step()
        subprocess.run([*port, "master", "bridge"], check=True)
        back = seconds_until(lambda: job.last_step() > done)
        codes = job.codes()
    problems = [f"supervisors ended with {codes}"] * (codes != [0, 0])
    if not problems:
        problems += differences(clean_result, result(folder))
        causes = [json.loads(path.read_text())["cause"] for path in ended]
        problems += [f"no word of it: {cause}" for cause in causes if "orker" not in cause]
    return Outcome(out, back, problems, job.said())


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
