r"""Measures how fast batches are made of files: ours, bare tf.data, and PyTorch's DataLoader.

    python launch/bench_data.py --out=runs/bench/data

Writes reading.json and reading.md, and once the data sets that it reads (1 GB).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # see program.py

from absl import flags

import tfscale
from launch import program
from tfscale.user_paths import local_path
from tools.bench.reading import study
from tools.bench.reading.formats import FORMATS

_FORMATS = flags.DEFINE_list("formats", list(FORMATS), "What is read.")
_BLOCKS = flags.DEFINE_integer("blocks", 5, "Measured blocks of each system.", lower_bound=1)
_SECONDS = flags.DEFINE_float("seconds", 1.0, "How long a block lasts at least.", lower_bound=0)
_EXAMPLES = flags.DEFINE_integer("examples", 2048, "Pictures of each data set.", lower_bound=1)
_OUT = flags.DEFINE_string("out", "runs/bench/data", "The folder that is written to.")


def main(terminal: tfscale.Terminal) -> None:
    """Translates the flags, measures, and shows the table."""
    asked = study.ReadingStudy(
        data_sets=tuple(_FORMATS.value),
        blocks=_BLOCKS.value,
        block_seconds=_SECONDS.value,
        examples=_EXAMPLES.value,
    )
    terminal.show(study.run(asked, Path(local_path(_OUT.value, "--out")), terminal.show))


if __name__ == "__main__":
    program.run(main)
