"""R6: how long a job needs to save and end when one of its workers is told to stop.

    .venv/bin/python -m tests.faults.measure_stops --runs=20

One line a case: runs, seconds until the last worker was out (minimum, median, maximum), and
failures: a hang, another exit code than 143, workers that name different steps, or a step that is
named and not in the newest checkpoint.
"""

import re
import signal
import statistics
import sys
import time

from absl import app, flags

from tests.faults.running import Running
from tfscale.checkpoints import commit
from tfscale.files.checkpoint_names import FOLDER

_RUNS = flags.DEFINE_integer("runs", 3, "Of each case.", lower_bound=1)
_LIMIT = 30.0  # seconds
CASES = {
    "SIGTERM, a worker": (2, 1, signal.SIGTERM),
    "SIGTERM, the chief": (2, 0, signal.SIGTERM),
    "SIGINT, a worker": (2, 1, signal.SIGINT),
    "SIGTERM, alone": (1, 0, signal.SIGTERM),
}
_ROW = "{:<22}{:>6}{:>9}{:>9}{:>9}{:>10}"


def play(num_workers, rank, number):
    """Stops a job; gives the seconds that it took, and what went wrong."""
    with Running(num_workers) as job:
        job.wait_until_training()
        time.sleep(1.0)
        began = time.monotonic()
        job.hit(rank, number)
        for worker in job.workers.values():
            worker.member.wait(began + _LIMIT)
        seconds = time.monotonic() - began
        ended = [worker.ended() for worker in job.workers.values()]
        found, refused = commit.newest(job.run_dir / FOLDER)
        return seconds, _problem(ended, found, refused)


def _problem(ended, found, refused):
    if any(one.code != 143 for one in ended):
        return f"exit codes {[one.code for one in ended]}"
    steps = {step for one in ended for step in re.findall(r"step (\d+) is saved in", one.err)}
    if len(steps) != 1 or found is None or refused:
        return f"steps {steps}, checkpoint {found}, {refused}"
    (step,) = steps
    return "" if int(step) == found.step else f"step {step} is told, {found.step} is there"


def main(argv):
    """Plays each case, and prints what came out."""
    del argv
    print(_ROW.format("case", "runs", "min s", "median", "max", "failures"))
    is_fine = True
    for name, case in CASES.items():
        outcomes = [play(*case) for _ in range(_RUNS.value)]
        seconds = [each for each, _ in outcomes]
        problems = [problem for _, problem in outcomes if problem]
        figures = (min(seconds), statistics.median(seconds), max(seconds))
        shown = [f"{figure:.2f}" for figure in figures]
        print(_ROW.format(name, len(outcomes), *shown, len(problems)), flush=True)
        for problem in problems:
            print(f"    {problem}")
        is_fine = is_fine and not problems and max(seconds) <= _LIMIT
    sys.exit(0 if is_fine else 1)


if __name__ == "__main__":
    app.run(main)
