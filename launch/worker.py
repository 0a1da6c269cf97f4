r"""Trains; start it once on every machine, with the same flags and only --index differing.

    python launch/worker.py --dataset=datasets/digits.py --model=models/small_cnn.py \
        --run_dir=runs/first --batch_size=64 --epochs=12

Several machines: TF_CONFIG, or --hosts=a:2222,b:2222 --index=0 on the first, 1 on the second.
With --restarts=3 what has failed is started again, and resumes from the last checkpoint.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # see program.py

import tfscale
from launch import program, worker_flags
from tfscale.report.trainer_status import status_listeners
from tfscale.supervise.commands import going_on, require_free_folder, supervised_commands
from tfscale.supervise.group_attempt import Launch
from tfscale.supervise.restarts import supervise


def main(terminal: tfscale.Terminal, *words: str) -> int | None:
    """Translates the flags and trains, or lets a supervisor start what does."""
    if worker_flags.is_supervisor():
        return _supervised()
    dry_run = worker_flags.dry_run()
    tfscale.train(
        worker_flags.config(),
        worker_flags.cluster(os.environ, None if dry_run else terminal),
        worker_flags.dataset(),
        worker_flags.model(),
        terminal=terminal,
        dry_run=dry_run,
        listeners=status_listeners(os.environ),
    )
    return None


def _supervised() -> int:
    """Starts this node's workers, as often as it takes; gives the last exit code."""
    config, cluster = worker_flags.config(), worker_flags.cluster(os.environ)
    is_alone = cluster.num_workers == worker_flags.processes()
    if cluster.is_chief:
        require_free_folder(Path(config.run_dir), sys.argv[1:])
    program_file, processes = Path(__file__).resolve(), worker_flags.processes()
    launch = Launch(
        lambda goes_on: supervised_commands(
            program_file, going_on(sys.argv[1:], goes_on), processes=processes, is_alone=is_alone
        ),
        os.environ,
        Path(config.run_dir),
        worker=cluster.index,
        has_peers=not is_alone,
    )
    return supervise(launch, restarts=worker_flags.restarts())


if __name__ == "__main__":
    program.run(
        main,
        parse=lambda words: worker_flags.parse(words, str(__doc__)),
        is_verbose=worker_flags.verbose,
        is_launcher=worker_flags.is_supervisor,
    )
