"""launch/worker.py with the faults that the environment's TEST_FAULTS orders."""

import functools
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import tfscale
from launch import program, worker, worker_flags
from tests.faults.injected import Faults

ORDER = "TEST_FAULTS"

if __name__ == "__main__":
    listeners = [Faults(os.environ.get(ORDER, ""))]
    tfscale.train = functools.partial(tfscale.train, listeners=listeners)
    program.run(
        worker.main,
        parse=lambda words: worker_flags.parse(words, str(worker.__doc__)),
        is_verbose=worker_flags.verbose,
        is_launcher=lambda: worker_flags.restarts() > 0,
    )
