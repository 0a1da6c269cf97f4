"""One worker of one system: python -m tfscale.bench.worker SYSTEM PROFILE SCALE HOSTS INDEX OPTIONS

It gets ready, says so, and then trains as many steps as each line of its standard input says.
"""

import importlib
import json
import os
import sys
import time

from tfscale.bench.options import Options
from tfscale.bench.profile import load_profile
from tfscale.cluster import Cluster


def main(system: str, profile: str, scale: str, hosts: str, index: str, options: str) -> None:
    """Answers each line with seconds, in JSON, on the standard output as it was at the start."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not be taken for an answer
    cluster = Cluster.from_hosts(hosts, int(index)) if hosts else Cluster()
    module = importlib.import_module(f"tfscale.bench.systems.{system}")
    run = module.prepare(load_profile(profile).scaled(float(scale)), cluster, Options(**json.loads(options)))
    for line in ["2", *sys.stdin]:
        started = time.perf_counter()
        run(int(line))
        json.dump({"seconds": time.perf_counter() - started}, answers)
        answers.write("\n")
        answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
