r"""Measures how training scales on this machine, with real or emulated accelerators and links.

    python launch/bench.py --profile=resnet-50 --workers=1,2,4 --link_mbps=0,1000 \
        --systems=tfscale,tfscale:wire_dtype=float16,stock --out=runs/bench
    python launch/bench.py --model=models/resnet.py --dataset=datasets/synthetic.py --gpus=1,2,4,8

Writes scaling.json, scaling.md and scaling.png, and for a profile a timeline of one step.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # see program.py

from absl import flags

import tfscale
from launch import program
from tfscale.user_paths import local_path
from tools.bench import study
from tools.bench.task import Variant

_PROFILE = flags.DEFINE_list("profile", [], "Shipped profiles or JSON files; the device waits.")
_MODEL = flags.DEFINE_string("model", "", "tiny-mlp, small-resnet, full-resnet, or a file.")
_DATASET = flags.DEFINE_string("dataset", "", "Dataset file, where --model is a file.")
_BATCH = flags.DEFINE_integer("batch_size", 32, "Examples of each worker's step of a model file.")
_SCALE = flags.DEFINE_float("time_scale", 1.0, "Factor on the times of a profile.")
_WORKERS = flags.DEFINE_list("workers", ["1", "2"], "How many workers to compare.")
_GPUS = flags.DEFINE_list("gpus", [], "Real GPUs of one worker, in place of --workers: 1,2,4,8.")
_LINKS = flags.DEFINE_list("link_mbps", ["0"], "Megabit/s of each link; needs root. 0: loopback.")
_SYSTEMS = flags.DEFINE_list(
    "systems", ["tfscale", "stock"], "Of tfscale, stock, ddp, plain_keras, bare."
)
_BLOCKS = flags.DEFINE_integer("blocks", 5, "Measured blocks of each system.", lower_bound=1)
_SECONDS = flags.DEFINE_float("block_seconds", 6.0, "How long a block lasts at least.")
_TIMELINE = flags.DEFINE_bool("timeline", True, "Draw one step of each profile.")
_OUT = flags.DEFINE_string("out", "runs/bench", "The folder that is written to.")


def main(terminal: tfscale.Terminal) -> None:
    """Translates the flags, measures, and shows the table."""
    asked = study.Study(
        profiles=tuple(_PROFILE.value),
        model=_MODEL.value,
        dataset=_DATASET.value,
        batch_size=_BATCH.value,
        time_scale=_SCALE.value,
        workers=study.counts("workers", _WORKERS.value),
        gpus=study.counts("gpus", _GPUS.value),
        links=study.rates("link_mbps", _LINKS.value),
        variants=tuple(Variant.parse(text) for text in _SYSTEMS.value),
        blocks=_BLOCKS.value,
        block_seconds=_SECONDS.value,
        has_timeline=_TIMELINE.value,
    )
    terminal.show(study.run(asked, Path(local_path(_OUT.value, "--out")), terminal.show))


if __name__ == "__main__":
    program.run(main)
