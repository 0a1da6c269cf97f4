"""The command of a small training that can be stopped, for tests and for measuring."""

import json

from tests.jobs.workers import start_all, worker_commands

SECONDS = 240  # that any of these runs may take on a busy machine
STEPS_PER_EPOCH, EPOCHS = 13, 3


def flags(folder, *more):
    """What a run in FOLDER/run is started with."""
    return [
        *("--dataset=tests/faults/dataset.py", "--model=tests/faults/model.py"),
        *("--batch_size=24", f"--epochs={EPOCHS}", "--optimizer=adamw", "--seed=5"),
        *(f"--run_dir={folder / 'run'}", f"--model_option=losses_file={folder / 'losses'}"),
        *more,
    ]


def train(folder, *more, num_workers=2):
    """Trains to the end of all workers; gives how each has ended."""
    folder.mkdir(exist_ok=True)
    commands = worker_commands(flags(folder, *more), num_workers=num_workers)
    return start_all(commands, deadline_seconds=SECONDS, is_warm=True)


def result(folder):
    """The hash of the weights, every step's loss on each worker, and the report."""
    report = json.loads((folder / "run" / "report.json").read_text())
    losses = {path.name: path.read_text() for path in sorted(folder.glob("losses-*"))}
    return report["weights_sha256"], losses, report


def checkpoints(folder):
    """The steps of the checkpoints of a run, in order."""
    names = (path.name for path in (folder / "run" / "checkpoints").iterdir())
    return sorted(int(name[5:]) for name in names if name.startswith("step-"))
