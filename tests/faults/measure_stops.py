"""R6: whether a run that is stopped saves one step on all workers, and goes on bit for bit.

    .venv/bin/python -m tests.faults.measure_stops --stops=40 --seed=1

Each stop is another run's: of 1 to 3 workers, with 1, 2, 3, 14 or any loops an epoch, with
validation or not, accumulating or not; SIGTERM or SIGINT comes to the launcher or to one worker at
a random moment. Printed are seconds until everybody was out. What fails is a hang, another exit
code than 143, workers that name different steps, a step that is named and isn't in the newest
checkpoint, and a run that comes to other weights when it goes on than without a stop. The same seed
draws the same stops.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from tests.faults import costs
from tests.faults.stops import LIMIT_SECONDS, drawn, play, problem_of, weights_of
from tests.sweeper import begin_session


def stopped(stop, clean, folder):
    """Stops a run and lets it go on; gives the seconds until its end, and what went wrong."""
    ended = play(stop.settings, folder, stop, stop.moment * clean.training_seconds)
    problem = problem_of(stop, ended, folder)
    if not problem and (again := play(stop.settings, folder)).code:
        problem = f"exit code {again.code} of the run that goes on: {again.text[-2000:]}"
    return ended.stopping_seconds, problem


def main():
    """Plays each stop, and prints what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stops", type=int, default=40)
    parser.add_argument("--seed", type=int)
    given = parser.parse_args()
    begin_session()
    seed = costs.seed_of(given.seed)
    print(f"seed {seed}: {given.stops} stops, limit {LIMIT_SECONDS:.0f} s", flush=True)
    clean, seconds, problems = {}, [], []
    with tempfile.TemporaryDirectory(prefix="tfscale-stops-") as temporary:
        for place, stop in enumerate(drawn(given.stops, seed)):
            settings = stop.settings
            if settings not in clean:
                whole = Path(temporary, f"clean-{len(clean)}")
                clean[settings] = play(settings, whole), whole
            without, whole = clean[settings]
            folder = Path(temporary, str(place))
            took, problem = stopped(stop, without, folder)
            if not problem and weights_of(folder) != weights_of(whole):
                problem = "other weights than without a stop"
            seconds.append(took)
            problems += [f"{stop}: {problem}"] * bool(problem)
            print(f"{place:4} {took:6.2f} s  {stop} {problem}", flush=True)
    figures = min(seconds), statistics.median(seconds), max(seconds)
    print(f"{len(seconds)} stops: {' / '.join(f'{one:.2f}' for one in figures)} s")
    print(f"failures: {len(problems)}")
    sys.exit(int(bool(problems) or max(seconds) > LIMIT_SECONDS))


if __name__ == "__main__":
    main()
