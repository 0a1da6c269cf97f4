"""When a slow worker is named, and whether anybody is falsely: python -m tests.faults.slow

Two workers, of which one's input or layer takes three times as long from some step on; and a clean
training of 1,000 steps, in which the two share the machine's cores.
"""

import argparse
import json
import re
import statistics
import sys
import tempfile
from pathlib import Path

from tests.jobs.workers import ROOT, start_all, worker_commands

AT_STEP, SLOW_SECONDS = 60, 0.12  # that a step takes longer, of some 0.06 s with the other part
_BATCH = 32  # 16 examples of each worker
_DEADLINE_SECONDS = 400.0
KINDS = {
    "input": ([f"dataset:slow_at={AT_STEP * 16}", f"dataset:slow_seconds={SLOW_SECONDS}"], 100),
    "compute": ([f"model:at_step={AT_STEP}", f"model:slow_seconds={SLOW_SECONDS}"], 100),
    "clean": ([], 1000),
}


def play(kind, folder):
    """Runs a training; gives the lines about slow workers, and the report's entries."""
    options, steps = KINDS[kind]
    flags = [
        f"--dataset={ROOT / 'tests/faults/hang_dataset.py'}",
        f"--model={ROOT / 'tests/faults/hang_model.py'}",
        f"--run_dir={folder / 'run'}",
        *(f"--batch_size={_BATCH}", f"--steps_per_epoch={steps}", "--keep_checkpoints=0"),
        *(f"--{option.replace(':', '_option=')}" for option in options),
    ]
    commands = worker_commands(flags)
    environ = {"TMPDIR": str(folder)}
    ended = start_all(commands, deadline_seconds=_DEADLINE_SECONDS, environ=environ, is_warm=True)
    if [worker.code for worker in ended] != [0, 0]:
        raise RuntimeError(f"the training failed: {[worker.err[-500:] for worker in ended]}")
    lines = [line for line in ended[0].err.splitlines() if " is slow: " in line]
    return lines, json.loads((folder / "run" / "report.json").read_text())["stragglers"]


def main():
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--kinds", default=",".join(KINDS))
    given = parser.parse_args()
    for kind in given.kinds.split(","):
        after, told = [], []
        for _ in range(given.runs):
            with tempfile.TemporaryDirectory(prefix="tfscale-slow-") as folder:
                lines, _ = play(kind, Path(folder))
            told += lines
            steps = [int(re.search(r"after step (\d+)", line)[1]) for line in lines]
            after += [step - AT_STEP for step in steps[:1] if "Worker 1" in lines[0]]
        text = f"{kind}: {given.runs} runs, {len(told)} lines"
        if kind != "clean":
            middle = statistics.median(after) if after else None
            text += f", worker 1 named in {len(after)}; steps until then: {sorted(after)}, {middle}"
        sys.stdout.write("\n".join([text, *told]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
