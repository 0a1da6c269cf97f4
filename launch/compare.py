r"""Compares whole trainings on two workers of this machine: ours, ours each alone, and stock.

    python launch/compare.py --out=runs/compare

Writes whole.json and whole.md.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # see program.py

from absl import flags

import tfscale
from launch import program
from tfscale.user_paths import local_path
from tools.bench import whole

_BLOCKS = flags.DEFINE_integer("blocks", 5, "Runs of each program.", lower_bound=1)
_EPOCHS = flags.DEFINE_integer("epochs", 2, "Passes of each run.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 30, "Steps of an epoch.", lower_bound=1)
_OUT = flags.DEFINE_string("out", "runs/compare", "The folder that is written to.")


def main(terminal: tfscale.Terminal) -> None:
    """Translates the flags, measures, and shows the table."""
    out = Path(local_path(_OUT.value, "--out"))
    measured = whole.measure(
        blocks=_BLOCKS.value, epochs=_EPOCHS.value, steps=_STEPS.value, say=terminal.show
    )
    whole.write(measured, out)
    terminal.show(whole.markdown(measured))


if __name__ == "__main__":
    program.run(main)
