r"""Trains; start it once on every machine, with the same flags and only --index differing.

    python launch/worker.py --dataset=datasets/digits.py --model=models/small_cnn.py \
        --run_dir=runs/first --batch_size=64 --epochs=12

Several machines: TF_CONFIG, or --hosts=a:2222,b:2222 --index=0 on the first, 1 on the second.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Started by its path, Python looks for modules in launch/ alone; `-m launch.worker` needs nothing.
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from absl import app  # noqa: E402  # after the path is set

import tfscale  # noqa: E402
from launch import worker_flags  # noqa: E402


def main(argv: Sequence[str]) -> int:
    """Translate the flags and train; says in one line why, if it can't."""
    tfscale.use_own_temporary_folder()
    terminal = tfscale.Terminal(print, progress=True)
    with contextlib.nullcontext() if worker_flags.verbose() else terminal.captured():
        try:
            worker_flags.refuse_words(argv[1:])
            tfscale.train(
                worker_flags.config(),
                worker_flags.cluster(os.environ),
                worker_flags.dataset(),
                worker_flags.model(),
                terminal=terminal,
                dry_run=worker_flags.dry_run(),
            )
            return 0
        except Exception as error:
            reason, code = tfscale.describe_failure(error)
            if code != tfscale.CONFIG_CODE:
                with contextlib.suppress(OSError):  # a full disk must not hide the reason
                    traceback.print_exc()
                reason += f" (more in {terminal.kept_log()})"
            terminal.complain(reason)
            return code


if __name__ == "__main__":
    app.run(
        lambda argv: tfscale.leave(main(argv)),
        flags_parser=lambda words: worker_flags.parse(words, str(__doc__)),
    )
