"""How long it takes until all others are out when a worker is lost.

    .venv/bin/python -m tests.faults.measure_lost_workers --runs=20

One line a fault: runs, seconds until the last of the others was out (minimum, median, maximum), the
limit, and failures: runs with a hang, a wrong exit code, or a line that doesn't name the worker.
The exit code is 1 if there were any, or a limit was missed.
"""

import statistics
import sys

from absl import app, flags

from tests.faults.lost_workers import FAULTS, Settings

_RUNS = flags.DEFINE_integer("runs", 3, "Of each fault.", lower_bound=1)
_FAULTS = flags.DEFINE_list("faults", list(FAULTS), "Which of them.")
_WORKERS = flags.DEFINE_integer("workers", 3, "Of each job.", lower_bound=2)
_HEARTBEAT = flags.DEFINE_float("heartbeat_timeout", 10.0, "Seconds of silence.")
_START = flags.DEFINE_float("start_timeout", 8.0, "Seconds to wait for who never comes.")

_ROW = "{:<22}{:>6}{:>9}{:>9}{:>9}{:>9}{:>10}{:>8}"


def main(argv):
    """Plays each fault, and prints what came out."""
    del argv
    settings = Settings(_WORKERS.value, _HEARTBEAT.value, _START.value)
    print(_ROW.format("fault", "runs", "min s", "median", "max", "limit", "failures", "late"))
    is_fine = True
    for name in _FAULTS.value:
        fault = FAULTS[name]
        if not fault.is_possible():
            print(f"{name:<22} skipped: it needs root, ip and tc")
            continue
        outcomes = [fault.play(settings) for _ in range(_RUNS.value)]
        seconds = [outcome.seconds for outcome in outcomes]
        limit = fault.limit(settings)
        failures = [outcome.problem for outcome in outcomes if outcome.problem]
        late = sum(each > limit for each in seconds)
        figures = (min(seconds), statistics.median(seconds), max(seconds), limit)
        shown = [f"{figure:.2f}" for figure in figures]
        print(_ROW.format(name, len(outcomes), *shown, len(failures), late), flush=True)
        for problem in failures:
            print(f"    {problem}")
        is_fine = is_fine and not failures and not late
    sys.exit(0 if is_fine else 1)


if __name__ == "__main__":
    app.run(main)
