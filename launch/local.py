r"""Starts several workers on this machine, each a `launch/worker.py` with the same flags.

    python launch/local.py --workers=2 -- --dataset=datasets/digits.py \
        --model=models/small_cnn.py --run_dir=runs/demo

The exit code is that of the first worker that failed, or 0.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Started by its path, Python looks for modules in launch/ alone; `-m launch.local` needs nothing.
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from absl import app, flags  # noqa: E402  # after the path is set

from launch import processes  # noqa: E402

_WORKERS = flags.DEFINE_integer("workers", 2, "How many workers to start.", lower_bound=1)
_DEVICES = flags.DEFINE_integer(
    "devices", 0, "Devices of each worker; 0 lets each worker decide.", lower_bound=0
)


def main(argv: Sequence[str]) -> int:
    """Start the workers with the flags that stand after `--` and wait for them."""
    worker_flags = argv[1:]
    commands = processes.worker_commands(
        ROOT / "launch" / "worker.py",
        worker_flags,
        num_workers=_WORKERS.value,
        devices=_DEVICES.value,
    )
    # The workers get their cluster from the flags; one that this shell has would contradict them.
    environ = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    # A worker's letters that this terminal does not have must not end the launcher.
    sys.stdout.reconfigure(errors="replace")
    return processes.run_together(
        commands, environ=environ, run_dir=processes.run_dir_of(worker_flags)
    )


if __name__ == "__main__":
    app.run(main)
