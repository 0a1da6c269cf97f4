r"""Trains; start it once on every machine, with the same flags and only --index differing.

    python launch/worker.py --dataset=datasets/digits.py --model=models/small_cnn.py \
        --run_dir=runs/first --batch_size=64 --epochs=12

Several machines: TF_CONFIG, or --hosts=a:2222,b:2222 --index=0 on the first, 1 on the second.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # see program.py

import tfscale
from launch import program, worker_flags


def main(terminal: tfscale.Terminal) -> None:
    """Translates the flags and trains."""
    tfscale.train(
        worker_flags.config(),
        worker_flags.cluster(os.environ),
        worker_flags.dataset(),
        worker_flags.model(),
        terminal=terminal,
        dry_run=worker_flags.dry_run(),
    )


if __name__ == "__main__":
    program.run(
        main,
        parse=lambda words: worker_flags.parse(words, str(__doc__)),
        is_verbose=worker_flags.verbose,
    )
