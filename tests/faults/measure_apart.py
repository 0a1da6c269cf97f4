"""R7 without a shared run directory: how soon two nodes go on that only meet at their ports.

    .venv/bin/python -m tests.faults.measure_apart --kills=6

Each of two workers has a supervisor and a run directory of its own, at the same path: another
folder is mounted there for one of them, which needs root. The chief and the other worker are killed
in turn. Printed are seconds from a kill to the first new step. The exit code is 1 if a limit was
missed, a supervisor gave up, or the result isn't that of a run without a break.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.faults import costs
from tests.faults.costs import say
from tests.faults.runs import STEPS_PER_EPOCH, result
from tests.faults.supervisors import differences, seconds_until, started
from tests.jobs.workers import free_addresses
from tests.sweeper import begin_session

LIMIT_SECONDS = 20.0
FLAGS = (
    "--overwrite",
    "--bucket_mb=4",
    "--checkpoint_every_steps=4",
    "--model_option=step_seconds=0.02",
)
# Gets two paths and a command, for which the first is at the second.
MOUNTED = ("unshare", "--mount", "sh", "-c", 'mount --bind "$1" "$2"; shift 2; exec "$@"', "sh")
_BETWEEN_STEPS = 10


def trained(folder, kills, epochs):
    """Trains, with kills.

    Returns:
        When each was, the chief's steps, what `runs.result` gives, and problems.
    """
    times, problems, mounted = [], [], folder / "of-worker-1"
    for path in (mounted, folder / "run"):
        path.mkdir(parents=True)
    prefixes = ([], [*MOUNTED, mounted, folder / "run"])
    more = (*FLAGS, f"--epochs={epochs}", "--restarts=3")
    with started(folder, free_addresses(2), *more, prefixes=prefixes) as job:
        for number in range(kills):
            aim = job.last_step() + _BETWEEN_STEPS
            if seconds_until(lambda aim=aim: job.last_step() >= aim) is None:
                problems.append(f"nobody went on to kill {number}")
                break
            times.append(time.monotonic())
            os.kill(_worker_of(job.members[number % 2]), signal.SIGKILL)
        codes = job.codes()
        if codes != [0, 0]:
            problems.append(f"supervisors ended with {codes}: {job.said()}")
        return times, job.steps, None if problems else result(folder), problems


def _worker_of(supervisor):
    """Its process, as it is now."""
    children = psutil.Process(supervisor.pid).children()
    found = {child.pid: " ".join(child.cmdline()) for child in children}
    return next(pid for pid, words in found.items() if "worker.py" in words)


def main():
    """Trains twice, and prints what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=6)
    given = parser.parse_args()
    begin_session()
    epochs = (given.kills + 1) * (_BETWEEN_STEPS + 4) // STEPS_PER_EPOCH + 1
    with tempfile.TemporaryDirectory(prefix="tfscale-apart-") as temporary:
        _, _, clean, problems = trained(Path(temporary, "clean"), 0, epochs)
        if problems:
            sys.exit(f"no run without a break: {problems}")
        kills, steps, found, problems = trained(Path(temporary, "killed"), given.kills, epochs)
    problems += [] if problems else differences(clean, found)
    new = [each[1] for kill in kills if (each := costs.recovered(kill, steps))]
    late = sum(one > LIMIT_SECONDS for one in new) + given.kills - len(new)
    say(f"{'seconds':44}{'kills':>6}{'min':>9}{'median':>9}{'max':>9}{'limit':>7}{'late':>6}")
    what = "from a kill to the first new step (R7)"
    say(f"{what:44}{len(new):6}{costs.figures(new)}{LIMIT_SECONDS:7.0f}{late:6}")
    say(f"failures: {len(problems)}")
    for problem in problems:
        say(f"    {problem}")
    sys.exit(int(bool(problems or late)))


if __name__ == "__main__":
    main()
