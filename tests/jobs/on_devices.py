"""Whether real devices train what the processor trains: python -m tests.jobs.on_devices OUT [N]

Scenes are played by one worker on one CPU device, by one worker on all GPUs that are used, and by
two workers that share them by a ring; N stands for so many logical CPU devices in place of GPUs.
Each scene's largest difference is printed, and the exit code is 1 where one is over its limit.
"""

import os
import pickle
import sys
from pathlib import Path

import numpy as np

from tests.jobs.playing import numbers_in
from tests.jobs.workers import free_addresses, start_all
from tfscale.startup.gpu_shares import visible_gpus

DEADLINE_SECONDS = 400
# How far a GPU may be from a processor: sums have another order, and transcendental functions other
# last digits, over 50 steps.
LIMITS = {
    "parity_float64": 1e-9,
    "parity_float32": 1e-3,
    "clipping": 1e-4,
    "overflow": 1e-3,
    "accumulation": 1e-3,
    "own_train_step": 1e-3,
    "optimizers": 1e-3,
    "compiled": 1e-3,
}


def shapes(logical, shown):
    """How scenes are played, by name: hosts, devices of each worker, and which GPUs they see."""
    visible = "-1" if logical else shown
    return {
        "processor": ([], "1", "-1"),
        "devices": ([], str(logical), visible),
        "shared": (free_addresses(2), f"{min(logical, 1)},ring", visible.split(",")[0]),
    }


def play(out, logical):
    """Plays all scenes on all shapes at once; gives what ended badly, by the name of the shape."""
    names, commands = [], []
    for name, (hosts, devices, visible) in shapes(logical, _shown()).items():
        (out / name).mkdir(parents=True)
        # Without the second one products of float32 are rounded to 10 bits.
        command = ["env", f"CUDA_VISIBLE_DEVICES={visible}", "NVIDIA_TF32_OVERRIDE=0"]
        command += [sys.executable, "-m", "tests.jobs.scenes", str(out / name), ",".join(hosts)]
        for rank in range(max(1, len(hosts))):
            names.append(name)
            commands.append([*command, str(rank), devices, *LIMITS])
    ended = start_all(commands, deadline_seconds=DEADLINE_SECONDS)
    bad = [(name, one) for name, one in zip(names, ended, strict=True) if one.code != 0]
    return {name: f"exit code {one.code}: {one.err[-2000:]}" for name, one in reversed(bad)}


def _shown():
    """The GPUs that are used: as many as the batch of a scene can be divided by."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0,1,2,3"[: 2 * _power_of_two() - 1])


def _power_of_two():
    seen = len(visible_gpus())
    return 4 if seen >= 4 else 2 if seen >= 2 else 1


def largest_difference(found, expected):
    """Over all numbers of a scene; infinite where they aren't the same ones."""
    ours, theirs = dict(numbers_in(found)), dict(numbers_in(expected))
    if ours.keys() != theirs.keys():
        return np.inf
    far = [np.max(np.abs(value - theirs[path]), initial=0.0) for path, value in ours.items()]
    return float(np.max(far))


def _result(folder, scene):
    path = folder / f"{scene}-0.pickle"
    return pickle.loads(path.read_bytes()) if path.exists() else None  # noqa: S301 - our own


def table(out):
    """What was found, to be read, and whether all of it is within the limits."""
    lines = ["| scene | devices | two workers that share one | limit |", "| --- " * 4 + "|"]
    is_good = True
    for scene, limit in LIMITS.items():
        expected, words = _result(out / "processor", scene), []
        for shape in ("devices", "shared"):
            found = _result(out / shape, scene)
            far = np.nan if None in (found, expected) else largest_difference(found, expected)
            is_good &= far <= limit
            words.append("not played" if np.isnan(far) else f"{far:.1e}")
        lines.append(f"| {scene} | {' | '.join(words)} | {limit:.0e} |")
    return "\n".join(lines), is_good


def main(out, logical="0"):
    """Plays, compares and says it."""
    out = Path(out).resolve()
    failed = play(out, int(logical))
    text, is_good = table(out)
    ends = [f"\n{shape}: {text}" for shape, text in failed.items()]
    sys.stdout.write("\n".join([text, *ends]) + "\n")
    sys.exit(int(bool(failed) or not is_good))


if __name__ == "__main__":
    main(*sys.argv[1:])
