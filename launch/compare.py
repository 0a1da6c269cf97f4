r"""Compares whole training programs on two workers of this machine: ours, alone, and stock.

    python launch/compare.py --blocks=5 --out=runs/compare

Writes whole.json and whole.md.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from absl import app, flags  # noqa: E402  # after the path is set

from tfscale.bench import whole  # noqa: E402
from tfscale.bench.groups import BenchmarkError  # noqa: E402

_BLOCKS = flags.DEFINE_integer("blocks", 5, "Runs of each program.", lower_bound=1)
_EPOCHS = flags.DEFINE_integer("epochs", 2, "Passes over the images.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 30, "Steps of an epoch.", lower_bound=1)
_OUT = flags.DEFINE_string("out", "runs/compare", "The folder that is written to.")


def main(argv: Sequence[str]) -> int:
    """Translates the flags, measures, and shows the table."""
    try:
        measured = whole.measure(
            blocks=_BLOCKS.value, epochs=_EPOCHS.value, steps=_STEPS.value, say=print
        )
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    whole.write(measured, Path(_OUT.value))
    print(whole.markdown(measured))
    return 0


if __name__ == "__main__":
    app.run(main)
