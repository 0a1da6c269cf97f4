"""The flags of launch/worker.py, in groups, and what they mean to the library."""

from collections.abc import Mapping, Sequence
from dataclasses import fields

from absl import flags

import tfscale
from tfscale import config as settings

FLAGS = flags.FLAGS
_DEFAULT = {field.name: field.default for field in fields(tfscale.Config)}


def _define_settings() -> None:
    number, text, real = flags.DEFINE_integer, flags.DEFINE_string, flags.DEFINE_float
    text("run_dir", None, "The folder that the run writes to.")
    number("batch_size", _DEFAULT["batch_size"], "Global batch: examples a step, on all devices.")
    number("epochs", _DEFAULT["epochs"], "Passes over the training examples.")
    number("steps_per_epoch", 0, "Steps of an epoch; 0 takes as many as there are examples for.")
    real("learning_rate", None, "For --base_batch_size examples a step; default by optimizer.")
    number(
        "base_batch_size", _DEFAULT["base_batch_size"], "The batch --learning_rate is meant for."
    )
    flags.DEFINE_enum("optimizer", _DEFAULT["optimizer"], settings.OPTIMIZERS, "How to update.")
    flags.DEFINE_enum("schedule", _DEFAULT["schedule"], settings.SCHEDULES, "After the warm-up.")
    real("warmup_fraction", _DEFAULT["warmup_fraction"], "Share of all steps, 0 to 1.")
    real("momentum", _DEFAULT["momentum"], "Of sgd and lars.")
    real("weight_decay", _DEFAULT["weight_decay"], "Not applied to biases and scales.")
    flags.DEFINE_enum("precision", _DEFAULT["precision"], settings.PRECISIONS, "Of the model.")
    number("seed", _DEFAULT["seed"], "Of weights, order, augmentation and dropout.")
    flags.DEFINE_enum(
        "wire_dtype", _DEFAULT["wire_dtype"], settings.WIRE_DTYPES, "Of travelling gradients."
    )
    real("bucket_mb", _DEFAULT["bucket_mb"], "MiB of gradients in one all-reduce.")
    number("accumulate_steps", 1, "Micro-batches of a step, with one all-reduce for all.")
    number("steps_per_execution", 0, "Steps of one on-device loop; 0 makes it last a second.")
    flags.DEFINE_bool("jit", False, "Let XLA compile forward and backward.")
    flags.DEFINE_enum(
        "collectives", _DEFAULT["collectives"], settings.COLLECTIVES, "auto: nccl where GPUs are."
    )
    number("devices", 0, "Logical CPU devices of each worker, to try things out; 0 for real ones.")
    real("start_timeout", _DEFAULT["start_timeout"], "Seconds to wait for the other workers.")
    flags.DEFINE_bool("overwrite", False, "Replace an earlier run in --run_dir.")
    flags.DEFINE_multi_string("dataset_option", [], "NAME=VALUE for a constant of the file.")
    flags.DEFINE_multi_string("model_option", [], "NAME=VALUE for a constant of the file.")


flags.DEFINE_string("dataset", None, "Path of the dataset file.")
flags.DEFINE_string("model", None, "Path of the model file.")
flags.DEFINE_list("hosts", None, "host:port of every worker, the same on all; the first is chief.")
flags.DEFINE_integer("index", None, "Which of --hosts this worker is, from 0.")
flags.DEFINE_bool("verbose", False, "Leave TensorFlow's own messages in the terminal.")
flags.DEFINE_bool("dry_run", False, "Show the plan and end, without the other workers.")
_define_settings()


def config() -> tfscale.Config:
    """The run that the flags ask for."""
    values = {name: FLAGS[name].value for name in _DEFAULT}
    if values["run_dir"] is None:
        raise tfscale.ConfigError(
            "--run_dir is missing; expected a folder, for example --run_dir=runs/first"
        )
    options = ("dataset_option", "model_option")
    return tfscale.Config(**{**values, **{name: tuple(values[name]) for name in options}})


def cluster(environ: Mapping[str, str]) -> tfscale.Cluster:
    """The cluster that the flags or `TF_CONFIG` describe."""
    return tfscale.resolve(FLAGS.hosts, FLAGS.index, environ)


def dataset() -> str:
    """Path of the user's dataset file."""
    return _required("dataset", "datasets/digits.py")


def model() -> str:
    """Path of the user's model file."""
    return _required("model", "models/small_cnn.py")


def verbose() -> bool:
    """Whether TensorFlow's messages stay in the terminal."""
    return bool(FLAGS.verbose)


def dry_run() -> bool:
    """Whether only the plan is shown."""
    return bool(FLAGS.dry_run)


def refuse_words(words: Sequence[str]) -> None:
    """Refuses what is no flag: absl would drop it and every flag after it without a word."""
    if words:
        raise tfscale.ConfigError(
            f"{' '.join(words)!r} is no flag; expected --name=value only. See --help."
        )


def _required(name: str, example: str) -> str:
    value = FLAGS[name].value
    if not value:
        raise tfscale.ConfigError(
            f"--{name} is missing; expected the path of a file, for example --{name}={example}"
        )
    return str(value)
