r"""Compares whole trainings on two workers of this machine.

    python launch/compare.py --what=programs --out=runs/compare   # ours, alone, and stock
    python launch/compare.py --what=wires --out=runs/compare      # the loss, by --wire_dtype

Writes whole.json and whole.md, or wire-losses.json and wire-losses.md.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from absl import app, flags  # noqa: E402  # after the path is set

from tfscale.bench import whole, wire_losses  # noqa: E402
from tfscale.bench.processes import BenchmarkError  # noqa: E402

_WHAT = flags.DEFINE_enum(
    "what", "programs", ["programs", "wires"], "Programs by their time, or wires by their loss."
)
_BLOCKS = flags.DEFINE_integer("blocks", 5, "Runs of each program, or seeds.", lower_bound=1)
_EPOCHS = flags.DEFINE_integer("epochs", 2, "Of a program: passes.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 30, "Of a program: steps of an epoch.", lower_bound=1)
_WIRE_DTYPE = flags.DEFINE_enum(
    "wire_dtype", "float16", ["float16", "bfloat16"], "The wire compared with float32."
)
_OUT = flags.DEFINE_string("out", "runs/compare", "The folder that is written to.")

_WIRE_STEPS = 200


def main(argv: Sequence[str]) -> int:
    """Translates the flags, measures, and shows the table."""
    try:
        shown = _programs() if _WHAT.value == "programs" else _wires()
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    print(shown)
    return 0


def _programs() -> str:
    measured = whole.measure(
        blocks=_BLOCKS.value, epochs=_EPOCHS.value, steps=_STEPS.value, say=print
    )
    whole.write(measured, Path(_OUT.value))
    return whole.markdown(measured)


def _wires() -> str:
    losses = wire_losses.measure(
        wire_dtype=_WIRE_DTYPE.value, seeds=_BLOCKS.value, steps=_WIRE_STEPS, say=print
    )
    wire_losses.write(losses, Path(_OUT.value))
    return wire_losses.markdown(losses)


if __name__ == "__main__":
    app.run(main)
