"""Plays scenes on one worker: python -m tests.jobs.scenes OUT HOSTS RANK DEVICES[,HOW] SCENE...

HOW are the collectives, as of --collectives.
"""

import os
import pickle
import sys
import traceback
from pathlib import Path

import tfscale
from tests.jobs.one_by_one import one_by_one
from tests.jobs.scenes import SCENES
from tests.jobs.scenes.stage import Stage


def main(out, hosts, rank, devices, *names):
    """Writes what each scene gave to OUT/SCENE-RANK.pickle, and ends the process."""
    number, _, how = devices.partition(",")
    cluster = tfscale.Cluster.from_hosts(hosts, int(rank)) if hosts else tfscale.Cluster()
    for name in one_by_one(names):
        try:
            stage = Stage(name, Path(out), cluster, int(number), how or "auto")
            result = SCENES[name](stage)
        except Exception:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        path = Path(out) / f"{name}-{rank}.pickle"
        path.write_bytes(pickle.dumps(result))
    os._exit(0)  # TensorFlow's threads may wait for each other at a normal exit


if __name__ == "__main__":
    main(*sys.argv[1:])
