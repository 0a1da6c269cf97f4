"""R12: what checkpoints by default cost, and how much work is lost at most.

    python -m tests.faults.measure_overhead --runs=3 --workers=2

Pairs of trainings, with checkpoints and without, in turn; the slowest worker counts, because a step
takes as long as its slowest worker. A network of 5.5 million weights (63 MiB with AdamW's), with
fsync.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.jobs.workers import start_all, worker_commands

SECONDS = 400
MODEL = """
import keras


def build(spec, num_classes):
    layers = keras.layers
    body = [layers.Flatten(), *(layers.Dense(1600, "relu") for _ in range(3))]
    return keras.Sequential([keras.Input(spec.shape), *body, layers.Dense(num_classes)])
"""


def _trained(folder, workers, steps, keep):
    model = folder / "network.py"
    model.write_text(MODEL)
    run = folder / f"run-{keep}"
    shutil.rmtree(run, ignore_errors=True)
    flags = [
        *("--dataset=datasets/digits.py", f"--model={model}", f"--run_dir={run}"),
        *("--batch_size=64", f"--steps_per_epoch={steps}", "--optimizer=adamw"),
        f"--keep_checkpoints={keep}",
    ]
    ended = start_all(worker_commands(flags, num_workers=workers), deadline_seconds=SECONDS)
    if any(one.code for one in ended):
        sys.exit(f"A worker failed: {ended}")
    return json.loads((run / "report.json").read_text())


def main():
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--runs", type=int, default=3)
    words.add_argument("--workers", type=int, default=2)
    words.add_argument("--steps", type=int, default=1000)
    asked = words.parse_args()
    ratios, blocked, lost = [], [], []
    with tempfile.TemporaryDirectory(prefix="tfscale-overhead-") as folder:
        for _ in range(asked.runs):
            found = {
                keep: _trained(Path(folder), asked.workers, asked.steps, keep) for keep in (0, 2)
            }
            ratios.append(found[2]["seconds"]["train"] / found[0]["seconds"]["train"] - 1)
            costs, step = found[2]["checkpoints"], found[2]["step_seconds"]["median"]
            blocked.append(costs["blocked_seconds"] / costs["written"] / step)
            lost.append(found[2]["seconds"]["train"] / costs["written"])
            print(
                f"train {found[0]['seconds']['train']:.1f} s without, "
                f"{found[2]['seconds']['train']:.1f} s with {costs['written']} checkpoints, of "
                f"{costs['write_seconds'] / costs['written']:.2f} s; step {1000 * step:.1f} ms",
                flush=True,
            )
    for name, values, unit in (
        ("overhead", [100 * ratio for ratio in ratios], "%"),
        ("blocked a save", blocked, "steps"),
        ("from one to the next", lost, "s"),
    ):
        print(
            f"R12 {name}: {min(values):.2f} / {np.median(values):.2f} / {max(values):.2f} {unit} "
            f"(minimum, median, maximum of {asked.runs})"
        )


if __name__ == "__main__":
    main()
