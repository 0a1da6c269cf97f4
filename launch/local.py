r"""Starts several workers on this machine, each a `launch/worker.py` with the same flags.

    python launch/local.py --workers=2 -- --dataset=datasets/digits.py \
        --model=models/small_cnn.py --run_dir=runs/demo
    python launch/local.py --workers=2 --program=evaluate -- --run_dir=runs/demo --split=test

When one fails, all are ended and started again, and go on from the last checkpoint. The exit code
is that of the first worker that failed in the last attempt, or 0.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # see program.py

from absl import flags

import tfscale
from launch import program
from tfscale.supervise.commands import (
    going_on,
    refuse_misplaced,
    refuse_own,
    require_free_folder,
    run_dir_of,
    worker_commands,
)
from tfscale.supervise.group_attempt import Launch
from tfscale.supervise.restarts import supervise

FOLDER = Path(__file__).resolve().parent  # of what is started
_KINDS = ("worker", "evaluate", "doctor")
_PROGRAM = flags.DEFINE_enum("program", "worker", _KINDS, "What is started, of this folder.")
_WORKERS = flags.DEFINE_integer("workers", 2, "How many workers to start.", lower_bound=1)
_DEVICES = flags.DEFINE_integer(
    "devices", 0, "Devices of each worker; 0 lets each worker decide.", lower_bound=0
)
# Nobody else can start all workers of this machine again; a bug costs two more short attempts.
_RESTARTS = flags.DEFINE_integer(
    "restarts", 3, "Restarts in a row without a new checkpoint.", lower_bound=0
)


def main(terminal: tfscale.Terminal, *worker_flags: str) -> int:
    """Starts the workers with the flags that stand after `--` and waits for them."""
    refuse_own(worker_flags, "launch/local.py --workers=2")
    program_file, run_dir = FOLDER / f"{_PROGRAM.value}.py", None
    if _PROGRAM.value == "worker":
        run_dir = run_dir_of(worker_flags)
        require_free_folder(run_dir, worker_flags)

    def commands(goes_on: bool) -> list[list[str]]:
        # New ports each time: another program may have taken the last ones.
        return worker_commands(
            program_file,
            going_on(worker_flags, goes_on),
            num_workers=_WORKERS.value,
            devices=_DEVICES.value,
        )

    # The workers get their cluster from the flags; one that this shell has would contradict them.
    environ = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    launch = Launch(commands, environ, run_dir)
    # An evaluation leaves nothing in a run's folder, and has nothing to go on from.
    return supervise(launch, restarts=_RESTARTS.value if run_dir else 0)


def parse(words: list[str]) -> list[str]:
    """Reads this program's flags; gives the words, those behind `--` among them."""
    try:
        return list(flags.FLAGS(words))
    except flags.UnrecognizedFlagError as error:
        refuse_misplaced(error.flagname)
        raise


if __name__ == "__main__":
    program.run(main, parse=parse, is_launcher=lambda: True)
