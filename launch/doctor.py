r"""Finds out whether a run would work on these nodes, and what is wrong where it wouldn't.

    python launch/doctor.py
    python launch/doctor.py --hosts=node0:2222,node1:2222 --index=0     (1 on the second)
    srun -N2 --ntasks-per-node=1 python launch/doctor.py --run_dir=runs/doctor

Started like a worker, once per node, for half a minute. Exit code 1: a run would fail.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # see program.py

from absl import flags

import tfscale
from launch import program
from tfscale.cluster import discovery
from tfscale.errors import FAILURE_CODE
from tfscale.settings import SETTINGS
from tfscale.user_paths import local_path
from tools.doctor import doctor, report
from tools.doctor.asked import Asked
from tools.doctor.examination import Examination

_HOSTS = flags.DEFINE_list("hosts", None, "host:port of every worker, the same on all.")
_INDEX = flags.DEFINE_integer("index", None, "Which of --hosts this worker is, from 0.")
_CLUSTER = flags.DEFINE_enum("cluster", discovery.AUTO, discovery.NAMES, "As of worker.py.")
_LEADER = flags.DEFINE_string("leader", "", "As of worker.py.")
_RUN_DIR = flags.DEFINE_string("run_dir", "", "The folder that a run would write to.")
_START_TIMEOUT = flags.DEFINE_float(
    "start_timeout", 20, "Seconds to wait for the other workers.", lower_bound=1, upper_bound=30
)
_COLLECTIVES = flags.DEFINE_enum(
    "collectives", "auto", SETTINGS["collectives"].choices, "As of worker.py."
)
_WIRE_DTYPE = flags.DEFINE_enum(
    "wire_dtype", "float32", SETTINGS["wire_dtype"].choices, "As of worker.py."
)
_DEVICES = flags.DEFINE_integer("devices", 0, "As of worker.py.", lower_bound=0)
_PUBLIC = flags.DEFINE_bool("allow_public_network", False, "As of worker.py.")
_GPUS = flags.DEFINE_integer("gpus", 0, "GPUs that each node should have.", lower_bound=0)
_JSON = flags.DEFINE_bool("json", False, "Say it as JSON, for programs.")
_OUT = flags.DEFINE_string("out", "", "File for the curves [RUN_DIR/doctor/links.json].")


def main(terminal: tfscale.Terminal) -> int:
    """Translates the flags, examines, and shows what was found."""
    run_dir = local_path(_RUN_DIR.value, "--run_dir") if _RUN_DIR.value else ""
    out = _OUT.value or (str(Path(run_dir) / doctor.OUT) if run_dir else "")

    way = (_CLUSTER.value, _LEADER.value, run_dir, _START_TIMEOUT.value, terminal.complain)

    def resolve() -> tfscale.Cluster:
        return tfscale.resolve(_HOSTS.value, _INDEX.value, os.environ, discovery.Asked(*way))

    def show(found: Examination, is_all: bool) -> None:
        if found.cluster.index == found.told_by:
            written = doctor.write_curves(found, out)
            as_json = report.for_programs(found, out if written else "")
            terminal.show(as_json if _JSON.value else report.for_people(found, written))
        elif not _JSON.value:
            terminal.show(report.for_others(found))
        if not is_all:
            tfscale.leave(FAILURE_CODE)

    run = (_COLLECTIVES.value, _WIRE_DTYPE.value, _DEVICES.value, _GPUS.value, _PUBLIC.value)
    asked = Asked(resolve, os.environ, run_dir, _START_TIMEOUT.value, *run)
    return FAILURE_CODE * doctor.examine(asked, show)


if __name__ == "__main__":
    program.run(main)
