"""launch/worker.py with the faults that the environment's TEST_FAULTS orders."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from launch import program, worker, worker_flags
from tests.faults.injected import Faults

ORDER = "TEST_FAULTS"

if __name__ == "__main__":
    worker.status_listeners = lambda environ: [Faults(environ.get(ORDER, ""))]
    program.run(
        worker.main,
        parse=lambda words: worker_flags.parse(words, str(worker.__doc__)),
        is_verbose=worker_flags.verbose,
        is_launcher=worker_flags.is_supervisor,
    )
