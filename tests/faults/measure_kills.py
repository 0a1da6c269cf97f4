"""What a training costs whose workers are killed again and again, and whether it notices (R7, R8).

    .venv/bin/python -m tests.faults.measure_kills --kills=20 --seed=1

A clean run, then one of which a random worker is killed by SIGKILL at random moments of random
steps. Printed are seconds from a kill to the first step after it and to the first step that hadn't
been taken before, and goodput (R16). The exit code is 1 if the weights' SHA-256 or a step's loss
isn't that of the clean run, something hung, gave up or was left behind, or a limit was missed.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.faults import costs
from tests.faults.long_run import drawn, epochs_for, play
from tests.faults.soak import failures_of
from tests.sweeper import begin_session

LIMIT_SECONDS = 10.0  # R7: from a crash to the first new step, with a shared run directory
BETWEEN_SECONDS = 300.0  # R16: from one fault to the next
LEAST_GOODPUT = 0.95


def main():
    """Plays both, and prints what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    begin_session()
    seed = costs.seed_of(given.seed)
    faults = drawn(given.kills, seed, kinds=("sigkill",), workers=given.workers)
    print(f"seed {seed}: {len(faults)} kills, {given.workers} workers", flush=True)
    settings = {"epochs": epochs_for(faults), "workers": given.workers}
    with tempfile.TemporaryDirectory(prefix="tfscale-kills-") as temporary:
        clean = play(Path(temporary, "clean"), [], **settings)
        if not clean.is_done:
            sys.exit(f"no result without faults: {clean.gave_up or clean.hangs}")
        faulty = play(Path(temporary, "faulty"), faults, **settings)
        failures = failures_of(clean, faulty, faults)
        steps, kills = faulty.steps, [note["at"] for note in faulty.notes]
        both = [found for kill in kills if (found := costs.recovered(kill, steps))]
        lost = costs.lost(kills, steps, costs.step_seconds(clean.steps))
        goodput = faulty.result()[2]["goodput"] if faulty.is_done else 0.0
    first, new = ([pair[place] for pair in both] for place in (0, 1))
    rare = sorted(1.0 - one / BETWEEN_SECONDS for one in lost)
    print(f"{'seconds':44}{'kills':>6}{'min':>9}{'median':>9}{'max':>9}{'limit':>7}{'late':>6}")
    late = sum(one > LIMIT_SECONDS for one in new)
    for what, found, limit in (
        ("from a kill to the first step after it", first, f"{'-':>7}{'-':>6}"),
        ("from a kill to the first new step (R7)", new, f"{LIMIT_SECONDS:7.0f}{late:6}"),
        ("lost by a kill, all in all", lost, f"{'-':>7}{'-':>6}"),
    ):
        print(f"{what:44}{len(found):6}{costs.figures(found)}{limit}")
    print(
        f"goodput of this run: {100 * goodput:.1f} %, "
        f"with a kill every {faulty.seconds / len(faults):.1f} s"
    )
    print(
        f"goodput with such a kill every {BETWEEN_SECONDS:.0f} s "
        f"(R16: {100 * LEAST_GOODPUT:.0f} %): {100 * rare[0]:.1f} to {100 * rare[-1]:.1f} %"
    )
    print(f"failures: {len(failures)}")
    for failure in failures:
        print(f"    {failure}")
    sys.exit(int(bool(failures or late or rare[0] < LEAST_GOODPUT)))


if __name__ == "__main__":
    main()
