"""R12, R15: what checkpoints by default cost, and how much work is lost at most.

    python -m tests.faults.measure_overhead --runs=3 --workers=2

Trainings of a network of 5.5 million weights (63 MiB with AdamW's), with fsync. The chief's steps
are timed, and each save is watched. What a save costs is the time from the step before it to the
step after it, less what as many steps take in the seconds around it: machines drift by more than a
save costs from one training to the next. All workers count, because a step ends with its slowest.
Training stands still while the replicas are compared and the state is taken.
"""

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults import costs
from tests.jobs.workers import start_all, worker_commands
from tests.sweeper import begin_session
from tfscale.checkpoints import commit

SECONDS = 400
LIMIT = 0.015
STILL = 0.005  # R15: in which replicas are compared, among others
_POLL_SECONDS = 0.05
MODEL = """
import time
from pathlib import Path

import keras

times_file = ""


class Times(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.times = []

    def on_train_batch_end(self, batch, logs=None):
        self.times.append(time.time())

    def on_train_end(self, logs=None):
        Path(times_file).write_text("\\n".join(map(repr, self.times)))


def callbacks():
    return [Times()]


def build(spec, num_classes):
    layers = keras.layers
    body = [layers.Flatten(), *(layers.Dense(1600, "relu") for _ in range(3))]
    return keras.Sequential([keras.Input(spec.shape), *body, layers.Dense(num_classes)])
"""


def trained(folder, workers, steps):
    """Trains once.

    Returns:
        The ends of the chief's steps; when each save was taken and when it was seen to be durable;
        and the report.
    """
    model, run, times = folder / "network.py", folder / "run", folder / "times"
    model.write_text(MODEL)
    flags = [
        *("--dataset=datasets/digits.py", f"--model={model}", f"--run_dir={run}", "--overwrite"),
        *("--batch_size=64", f"--steps_per_epoch={steps}", "--optimizer=adamw"),
        f"--model_option=times_file={times}",
    ]
    saves = {}
    with ThreadPoolExecutor(1) as thread:
        commands = worker_commands(flags, num_workers=workers)
        ended = thread.submit(start_all, commands, deadline_seconds=SECONDS)
        while not ended.done():
            _watch(run / "checkpoints", saves)
            time.sleep(_POLL_SECONDS)
    if any(one.code for one in ended.result()):
        sys.exit(f"A worker failed: {ended.result()}")
    ends = [float(line) for line in times.read_text().split()]
    return ends, list(saves.values()), json.loads((run / "report.json").read_text())


def _watch(checkpoints, saves):
    """Notes checkpoints that are new."""
    for path in commit.all_of(checkpoints):
        if path.name not in saves:
            saves[path.name] = commit.facts_of(path)["written"], time.time()


def main():
    """Trains some times, and prints what saves cost."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--runs", type=int, default=3)
    words.add_argument("--workers", type=int, default=2)
    words.add_argument("--steps", type=int, default=1500)
    asked = words.parse_args()
    begin_session()
    parts, blocked, still, between, each = [], [], [], [], []
    for _ in range(asked.runs):
        with tempfile.TemporaryDirectory(prefix="tfscale-overhead-") as folder:
            ends, saves, report = trained(Path(folder), asked.workers, asked.steps)
        found = report["checkpoints"]
        step = report["step_seconds"]["median"]
        # The first follows the first step, which is no measure, and the last follows the last one.
        gaps = costs.lengths([durable for _, durable in saves[:-1]])
        found_costs = [costs.excess(ends, *save) for save in saves[1:-1]]
        pairs = [pair for pair in zip(found_costs, gaps, strict=True) if pair[0] is not None]
        if not pairs:
            sys.exit(f"{len(saves)} saves are too few to compare; expected more --steps")
        cost, gaps = map(list, zip(*pairs, strict=True))
        each += cost
        between += gaps
        parts.append(sum(cost) / sum(gaps))
        blocked.append(found["blocked_seconds"] / found["written"] / step)
        still.append(found["blocked_seconds"] / (ends[-1] - ends[0]))
        costs.say(
            f"{len(ends)} steps of {1000 * step:.1f} ms in {ends[-1] - ends[0]:.1f} s, "
            f"{found['written']} saves of {found['write_seconds'] / found['written']:.2f} s"
        )
    print(f"{'R12':40}{'number':>7}{'min':>9}{'median':>9}{'max':>9}{'limit':>7}")
    for name, values, limit in (
        ("part of the time, %", [100 * part for part in parts], f"{100 * LIMIT:7.1f}"),
        ("training blocked by a save, steps", blocked, f"{1:7}"),
        ("the same, part of the time, %", [100 * one for one in still], f"{100 * STILL:7.1f}"),
        ("cost of a save, s", each, f"{'-':>7}"),
        ("from one save to the next, s", between, f"{'-':>7}"),
    ):
        print(f"{name:40}{len(values):7}{costs.figures(values)}{limit}")
    sys.exit(int(max(parts) > LIMIT or max(blocked) > 1 or max(still) > STILL))


if __name__ == "__main__":
    main()
