r"""Starts a worker on each of several machines by ssh, all with the same flags.

    python launch/ssh.py --hosts=node0,node1 -- --dataset=datasets/digits.py \
        --model=models/small_cnn.py --run_dir=runs/nodes

Their lines come here. Ctrl-C lets all save and end; when one fails, all are ended and started
again, and go on from the last checkpoint. --detach lets go of the terminal; the same words behind
-- with --attach, --status or --stop come back to it. The exit code is as of launch/local.py.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # see program.py

from absl import flags

import tfscale
from launch import program, ssh_flags
from tfscale.supervise.commands import with_flags
from tools.ssh import launching

flags.adopt_module_key_flags(ssh_flags)  # so that --help shows them


def main(terminal: tfscale.Terminal, *worker_flags: str) -> int:
    """Starts the workers with the flags that stand after `--`, or comes back to them."""
    start = ssh_flags.start(worker_flags, os.environ)
    launches = start.launches(os.environ)
    if ask := ssh_flags.asked():
        return ask(launches)
    nodes = ssh_flags.nodes(os.environ)
    if ssh_flags.DETACH.value:
        words = with_flags(sys.argv[1:], "--nodetach")
        return launches.detach([sys.executable, str(Path(__file__).resolve()), *words])
    return launching.run(
        start,
        nodes,
        os.environ,
        restarts=ssh_flags.RESTARTS.value,
        copies=bool(ssh_flags.COPY.value),
    )


if __name__ == "__main__":
    program.run(main, parse=ssh_flags.parse, is_launcher=lambda: True)
