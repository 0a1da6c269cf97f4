"""How soon a run ends whose loss isn't finite, and whether it says where that began.

    python -m tests.faults.measure_non_finite --runs=5

Each run has two workers and another example that isn't a number. What is printed: steps from that
example's to the end of the loop in which it was, and how many runs named step, worker and input.
"""

import argparse
import random
import re
import sys

import numpy as np

from tests.faults.running import Running

SECONDS = 240  # that a run may take
SIZE, BATCH, SEED = 331, 24, 5
EPOCHS = 3
NAMED = re.compile(
    r"[Ss]tep (\d+) .*worker \d at \S+ \(replica \d\).*x of its batch isn't finite; "
    r"it was found after step (\d+)"
)


def _first_step(poisoned):
    """The first step with an example of that number; the first step of a run is 1."""
    import tensorflow as tf

    from tfscale.data.sharding import pass_order

    steps = SIZE // BATCH
    for epoch in range(EPOCHS):
        order = pass_order(tf.constant(epoch, tf.int64), num_examples=SIZE, seed=SEED).numpy()
        place = int(np.flatnonzero(order == poisoned)[0]) // BATCH
        if place < steps:
            return epoch * steps + place + 1
    return 0


def _run(poisoned, every):
    """The last line of a run, and its workers' exit codes."""
    flags = (
        *("--dataset=tests/faults/nan_dataset.py", f"--dataset_option=poisoned={poisoned}"),
        *("--model=tests/faults/model.py", f"--epochs={EPOCHS}", f"--batch_size={BATCH}"),
        *(f"--seed={SEED}", f"--steps_per_execution={every}", "--checkpoint_every_steps=5"),
    )
    with Running(2, *flags) as running:
        ended = running.all_ended(within=SECONDS)
    lines = [each.err.strip().rpartition("\n")[2] for each in ended.values()]
    return lines[0], [each.code for each in ended.values()]


def main():
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--runs", type=int, default=5)
    words.add_argument("--seed", type=int, default=0)
    asked = words.parse_args()
    draw, late, named, failures = random.Random(asked.seed), [], 0, []
    for run in range(asked.runs):
        poisoned, every = draw.randrange(SIZE), draw.choice((1, 4, 13))
        step = _first_step(poisoned)
        line, codes = _run(poisoned, every)
        told = NAMED.search(line)
        if not step or codes != [1, 1] or not told or int(told[1]) != step:
            failures.append(f"run {run}: example {poisoned}, step {step}, codes {codes}: {line}")
            continue
        named += 1
        late.append(int(told[2]) - step)
    print(
        f"not finite: {asked.runs} runs; steps taken after it {min(late, default=0)} / "
        f"{np.median(late or [0]):.0f} / {max(late, default=0)} (minimum, median, maximum); "
        f"{named} named step, worker and input; {len(failures)} failures"
    )
    print("\n".join(failures))
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
