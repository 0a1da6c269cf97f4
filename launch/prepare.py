r"""Writes splits once as shards in which any record is reached at once, checked when it is read.

    python launch/prepare.py --dataset=datasets/digits.py --split=train,validation \
        --out=data/digits --shard_mb=128 --processes=4

Started again after it was killed, it goes on. Each split gets a folder of its own, which
datasets/prepared.py reads, or prepared.records(FOLDER) in the load of a file of your own.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # see program.py

from absl import flags

import tfscale
from launch import program
from tfscale.process.cores import num_cores
from tfscale.startup.environment import check_environment, set_environment
from tfscale.user_paths import local_path
from tools.prepare.progress import progress

_DATASET = flags.DEFINE_string("dataset", "", "Path of the dataset file.")
_OPTION = flags.DEFINE_multi_string("dataset_option", [], "NAME=VALUE for the file.")
_DATA_DIR = flags.DEFINE_string("data_dir", "", "What load(split, data_dir) gets [data].")
_SPLITS = flags.DEFINE_list("split", ["train", "validation"], "The splits to write.")
_OUT = flags.DEFINE_string("out", "", "The folder that gets one for each split.")
_FORMAT = flags.DEFINE_enum("format", "tfrecord", ["tfrecord", "array_record"], "Of the shards.")
_SHARD_MB = flags.DEFINE_float("shard_mb", 128.0, "About how many MiB a shard has.")
_NUM_SHARDS = flags.DEFINE_integer("num_shards", 0, "In place of --shard_mb: how many.")
_PROCESSES = flags.DEFINE_integer("processes", 0, "That write at a time; 0: one for each core.")


def main(terminal: tfscale.Terminal) -> None:
    """Translates the flags, and writes one split after the other."""
    if not _DATASET.value or not _OUT.value:
        raise tfscale.ConfigError(
            "--dataset and --out are both needed; expected a file and a folder, for example "
            "--dataset=datasets/digits.py --out=data/digits"
        )
    # Absolute: what a split's load does with the current folder doesn't matter to the next one.
    dataset, out = local_path(_DATASET.value, "--dataset"), Path(local_path(_OUT.value, "--out"))
    data_dir = _DATA_DIR.value and local_path(_DATA_DIR.value, "--data_dir")
    check_environment()
    set_environment(tfscale.Cluster())
    # TensorFlow and Keras read the environment when they are imported.
    from tools.prepare.preparation import Layout, prepare
    from tools.prepare.split_records import Asked

    processes = _PROCESSES.value or num_cores()
    layout = Layout(_FORMAT.value, _NUM_SHARDS.value, _SHARD_MB.value, processes)
    for split in _SPLITS.value:
        asked = Asked(dataset, split, tuple(_OPTION.value), data_dir)
        with progress(terminal, split) as tell:
            made = prepare(asked, layout, out / split, tell, terminal.show)
        records = sum(shard.records for shard in made.files.values())
        terminal.show(f"{split}: {records:,} records in {len(made.files)} shards, {out / split}")


if __name__ == "__main__":
    program.run(main)
