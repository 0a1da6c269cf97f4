r"""Measures how long the layers of a model take on this machine, and writes a profile of it.

    python launch/profile_model.py --dataset=datasets/digits.py --model=models/small_cnn.py \
        --batch_size=64 --out=small_cnn.json

The profile is what an emulated accelerator waits by; without --out it is printed.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # see program.py

from absl import flags

import tfscale
from launch import program
from tfscale.files import atomic
from tfscale.settings import SETTINGS
from tfscale.startup.environment import check_environment, set_environment
from tfscale.user_paths import local_path
from tools.profiles import profile

_DATASET = flags.DEFINE_string("dataset", "", "Path of the dataset file.")
_MODEL = flags.DEFINE_string("model", "", "Path of the model file.")
_DATASET_OPTION = flags.DEFINE_multi_string("dataset_option", [], "NAME=VALUE for the file.")
_MODEL_OPTION = flags.DEFINE_multi_string("model_option", [], "NAME=VALUE for the file.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Examples a step, on one device.")
_STEPS = flags.DEFINE_integer("steps", 20, "Each time is the median of so many steps.")
_PRECISION = flags.DEFINE_enum(
    "precision", "float32", SETTINGS["precision"].choices, "Of the model."
)
_OUT = flags.DEFINE_string("out", "", "The JSON file to write; printed if empty.")


def main(terminal: tfscale.Terminal) -> None:
    """Translates the flags, measures, and writes or shows the profile."""
    out = local_path(_OUT.value, "--out") if _OUT.value else ""
    profile.require_writable(out)
    config = tfscale.Config(
        run_dir="unused",
        batch_size=_BATCH_SIZE.value,
        precision=_PRECISION.value,
        dataset_option=tuple(_DATASET_OPTION.value),
        model_option=tuple(_MODEL_OPTION.value),
    )
    check_environment()
    set_environment(tfscale.Cluster())
    # TensorFlow and Keras read the environment when they are imported.
    from tools.profiles.layer_times import profile_files

    measured = profile_files(config, _DATASET.value, _MODEL.value, _STEPS.value)
    text = profile.profile_text(measured)
    if out:
        atomic.write_text(Path(out), text)
    terminal.show(f"written: {out}" if out else text)


if __name__ == "__main__":
    program.run(main)
