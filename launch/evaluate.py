r"""Evaluates a saved model on a split, each example once, and writes what it predicts.

    python launch/evaluate.py --run_dir=runs/first --split=test
    python launch/evaluate.py --model=model.keras --dataset=datasets/digits.py --split=test \
        --predictions=test.npz

A run brings its model and its data. Several workers, as for a training: TF_CONFIG, or --hosts and
--index; on this machine, `launch/local.py --program=evaluate`.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # see program.py

from absl import flags

import tfscale
from launch import program
from tfscale.cluster.discovery import AUTO, NAMES, Asked
from tfscale.files.run_directory import read_settings

_RUN_DIR = flags.DEFINE_string("run_dir", None, "The folder of a run: its model and its data.")
_MODEL = flags.DEFINE_string("model", None, "A saved model, in place of a run's.")
_DATASET = flags.DEFINE_string("dataset", None, "Path of the dataset file [the run's].")
_DATASET_OPTION = flags.DEFINE_multi_string(
    "dataset_option", None, "NAME=VALUE for a constant of the file [the run's]."
)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "The folder of the data [the run's].")
_SPLIT = flags.DEFINE_string("split", "validation", "Which split.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Examples at a time, of all devices.")
_DEVICES = flags.DEFINE_integer("devices", 0, "As of worker.py.", lower_bound=0)
_PREDICTIONS = flags.DEFINE_string("predictions", None, "The NPZ file that gets the predictions.")
_HOSTS = flags.DEFINE_list("hosts", None, "host:port of every worker, the same on all.")
_INDEX = flags.DEFINE_integer("index", None, "Which of --hosts this worker is, from 0.")
_CLUSTER = flags.DEFINE_enum("cluster", AUTO, NAMES, "As of worker.py.")


def main(terminal: tfscale.Terminal) -> None:
    """Takes over from the run what no flag says, and evaluates."""
    if not (_RUN_DIR.value or _MODEL.value):
        raise _missing("run_dir or --model", "--run_dir=runs/first")
    trained = read_settings(Path(_RUN_DIR.value)) if _RUN_DIR.value else {}
    dataset = _DATASET.value or trained.get("dataset")
    if not dataset:
        raise _missing("dataset", "--dataset=datasets/digits.py")
    options = _DATASET_OPTION.value
    config = tfscale.Config(
        run_dir=_RUN_DIR.value or ".",  # nothing is written there
        data_dir=_DATA_DIR.value or trained.get("data_dir"),
        dataset_option=tuple(trained.get("dataset_option", ()) if options is None else options),
        batch_size=_BATCH_SIZE.value,
        devices=_DEVICES.value,
    )
    asked = Asked(_CLUSTER.value, folder=_RUN_DIR.value or "", say=terminal.complain)
    cluster = tfscale.resolve(_HOSTS.value, _INDEX.value, os.environ, asked)
    model, out = str(_MODEL.value or _RUN_DIR.value), _PREDICTIONS.value or ""
    tfscale.evaluate(
        config, cluster, dataset, model, _SPLIT.value, predictions=out, terminal=terminal
    )


def _missing(name: str, example: str) -> tfscale.ConfigError:
    return tfscale.ConfigError(f"--{name} has to be given; expected a path, for example {example}")


if __name__ == "__main__":
    program.run(main)
