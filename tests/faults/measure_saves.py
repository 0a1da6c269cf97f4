"""R10: what is gone on from when a save was killed, or what it left was spoiled afterwards.

    python -m tests.faults.measure_saves --runs=25

Each run kills a save at another of its calls, in turn, then cuts off, flips, removes or lengthens a
file of the newest checkpoint that is whole. What is found has to be the newest that is what it was.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.checkpoints.dying import dies_at
from tfscale.checkpoints import commit

FILES = ("weights.safetensors", "state.safetensors", "manifest.json")


def _write(folder, step):
    arrays = {"model/0000/kernel": np.full(50_000, step, np.float32)}
    files = {FILES[0]: arrays, FILES[1]: {"x": np.arange(step + 1)}}
    return commit.write(folder, step, files, {"value": step})


def _cut(path, draw):
    data = path.read_bytes()
    path.write_bytes(data[: draw.randrange(len(data))])


def _flip(path, draw):
    data = bytearray(path.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)


def _lengthen(path, draw):
    path.write_bytes(path.read_bytes() + bytes([draw.randrange(1, 256)]))


def _remove(path, draw):
    path.unlink()


SPOILS = (_cut, _flip, _lengthen, _remove)


def _found(folder):
    began = time.perf_counter()
    found, refused = commit.newest(folder)
    arrays = found.arrays()
    is_right = (arrays["model/0000/kernel"] == found.step).all() and found.facts[
        "value"
    ] == found.step
    return (found.step if is_right else -1), refused, time.perf_counter() - began


def main():
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--runs", type=int, default=25)
    words.add_argument("--seed", type=int, default=0)
    asked = words.parse_args()
    draw, seconds, failures, killed, place = random.Random(asked.seed), [], [], 0, 0
    for run in range(asked.runs):
        folder = Path(tempfile.mkdtemp(prefix="tfscale-saves-"))
        _write(folder, 1), _write(folder, 2)
        place += 1
        if dies_at(place, lambda folder=folder: _write(folder, 3)):
            killed += 1
        else:
            place = 0
        step, refused, spent = _found(folder)
        if step not in (2, 3) or refused:
            failures.append(f"run {run}: killed at call {place}: step {step}, {refused}")
        spoil, file = draw.choice(SPOILS), draw.choice(FILES)
        spoil(folder / f"step-{step:010d}" / file, draw)
        before, refused, spent = _found(folder)
        if before != step - 1 or len(refused) != 1:
            failures.append(f"run {run}: {spoil.__name__} {file}: step {before}, {refused}")
        seconds.append(spent)
        shutil.rmtree(folder)
    print(
        f"R10: {asked.runs} runs, {killed} killed in a save, {asked.runs} spoiled after it; found "
        f"and verified in {min(seconds):.4f} / {np.median(seconds):.4f} / {max(seconds):.4f} s "
        f"(minimum, median, maximum); {len(failures)} failures"
    )
    print("\n".join(failures))
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
