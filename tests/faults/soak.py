"""One training with hundreds of random faults, whose result has to be that without any (R11).

    .venv/bin/python -m tests.faults.soak --faults=200 --seed=1

A clean run first, then the same with faults; a line for each kind of them: how often it came, and
the seconds that it cost until the next one, beside those of new steps. The exit code is 1 if
something hung, gave up, was left behind or came to another result. The same seed draws the same
faults.
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.faults import costs
from tests.faults.costs import say
from tests.faults.long_run import KINDS, differences, drawn, epochs_for, play
from tests.sweeper import begin_session


def failures_of(clean, faulty, faults):
    """What isn't as it should be, in one line each."""
    found = [f"a hang: {line}" for line in faulty.hangs]
    found += [f"the launcher gave up: {line}" for line in faulty.gave_up]
    found += [f"left behind: {line}" for line in faulty.left]
    found += [f"another result than without faults: {what}" for what in differences(clean, faulty)]
    missing = {str(fault) for fault in faults}
    missing -= {f"{note['kind']}@{note['step']}:{note['worker']}" for note in faulty.notes}
    return found + [f"never happened: {fault}" for fault in sorted(missing)]


def show(clean, faulty, faults):
    """Prints the table."""
    notes, came = faulty.notes, Counter(note["kind"] for note in faulty.notes)
    seconds = costs.step_seconds(clean.steps)
    lost = costs.lost([note["at"] for note in notes], faulty.steps, seconds)
    by_kind = {kind: [] for kind in sorted(came)}
    for note, one in zip(notes, lost, strict=True):
        by_kind[note["kind"]].append(one)
    say(f"{'fault':22}{'times':>6}{'min s':>9}{'median':>9}{'max':>9}")
    for kind, each in by_kind.items():
        say(f"{kind:22}{came[kind]:6}{costs.figures(each)}")
    say(f"{'all':22}{len(notes):6}{costs.figures(lost)}")
    say(
        f"{faulty.attempts} starts of the workers, {faulty.launches} of the launcher; "
        f"{faulty.seconds:.0f} s, without faults {clean.seconds:.0f} s"
    )
    if faulty.is_done:
        report = faulty.result()[2]
        say(f"goodput {100 * report['goodput']:.1f} %, {report['steps']} steps")
    failures = failures_of(clean, faulty, faults)
    say(f"failures: {len(failures)}")
    for failure in failures:
        say(f"    {failure}")
    return failures


def main():
    """Plays both, and prints what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--deadline", type=float, default=180.0, help="seconds without a step")
    parser.add_argument("--step_timeout", type=float, default=8.0, help="seconds of a hang")
    parser.add_argument("--folder", type=Path, help="that stays; a temporary one by default")
    parser.add_argument("flags", nargs="*", help="of the workers, behind a --")
    given = parser.parse_args()
    begin_session()
    seed = costs.seed_of(given.seed)
    faults = drawn(given.faults, seed, kinds=given.kinds.split(","), workers=given.workers)
    say(f"seed {seed}: {len(faults)} faults, {given.workers} workers")
    settings = {
        "epochs": epochs_for(faults),
        "workers": given.workers,
        "deadline_seconds": given.deadline,
        "more": [f"--step_timeout={given.step_timeout}", *given.flags],
    }
    with tempfile.TemporaryDirectory(prefix="tfscale-soak-") as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        clean = play(folder / "clean", [], **settings)
        if not clean.is_done:
            sys.exit(f"no result without faults: {clean.gave_up or clean.hangs}")
        faulty = play(folder / "faulty", faults, **settings)
        sys.exit(int(bool(show(clean, faulty, faults))))


if __name__ == "__main__":
    main()
