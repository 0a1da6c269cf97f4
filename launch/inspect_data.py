r"""Shows what a dataset file gives: a picture, classes, ranges, speed, and what looks wrong.

    python launch/inspect_data.py --dataset=datasets/digits.py --split=train --out=digits.png

Warnings don't change the exit code, which is 2 for a file that can't be used. One process, no GPU.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # see program.py

from absl import flags

import tfscale
from launch import program
from tfscale.startup.environment import check_environment, set_environment
from tfscale.user_paths import local_path

_DATASET = flags.DEFINE_string("dataset", "", "Path of the dataset file.")
_DATASET_OPTION = flags.DEFINE_multi_string("dataset_option", [], "NAME=VALUE for the file.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "The folder of the data, for files that ask.")
_SPLIT = flags.DEFINE_string("split", "train", "Which split.")
_EXAMPLES = flags.DEFINE_integer("examples", 1000, "How many of each split; 0: all of them.")
_OUT = flags.DEFINE_string("out", "", "The PNG file to draw a grid of examples into.")


def main(terminal: tfscale.Terminal) -> None:
    """Translates the flags, looks, and shows tables and warnings."""
    if not _DATASET.value:
        raise tfscale.ConfigError(
            "--dataset is missing; expected the path of a file, for example "
            "--dataset=datasets/digits.py"
        )
    out = local_path(_OUT.value, "--out") if _OUT.value else ""
    check_environment()
    set_environment(tfscale.Cluster())
    # TensorFlow and Keras read the environment when they are imported.
    import tensorflow as tf

    from tfscale.data.sources.dataset_file import read_dataset_file
    from tfscale.data.sources.once_per_file_system import prepare
    from tfscale.report.tables import table
    from tools.inspect_data.inspection import inspect_split

    tf.config.set_visible_devices([], "GPU")  # a training may be using them
    folder = _DATA_DIR.value and local_path(_DATA_DIR.value, "--data_dir")
    file = read_dataset_file(_DATASET.value, tuple(_DATASET_OPTION.value), folder)
    prepare(file, terminal.show)
    found = inspect_split(file, _SPLIT.value, _EXAMPLES.value, out)
    for title, rows in found.tables():
        terminal.show(table(title, rows))
    for warning in found.warnings:
        terminal.show(f"warning: {warning}")
    if not found.warnings:
        terminal.show("nothing looks wrong")


if __name__ == "__main__":
    program.run(main)
