"""The flags of launch/worker.py, in groups, and what they mean to the library."""

import contextlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from absl import flags

import tfscale
from tfscale import config as settings
from tfscale.process.printable import printable
from tfscale.user_files import options_of

FLAGS = flags.FLAGS
_DEFAULT: dict[str, Any] = {
    field.name: field.default for field in fields(tfscale.Config) if field.compare
}


GROUPS: dict[str, list[str]] = {}  # title of --help: names of its flags


@contextlib.contextmanager
def _group(title: str) -> Iterator[None]:
    """Files the flags that the body defines under a title of --help."""
    before = set(FLAGS)
    yield
    GROUPS[title] = [name for name in FLAGS if name not in before]


def _number(name: str, text: str) -> None:
    flags.DEFINE_integer(name, _DEFAULT[name], text)


def _real(name: str, text: str) -> None:
    flags.DEFINE_float(name, _DEFAULT[name], text)


def _choice(name: str, choices: Sequence[str], text: str) -> None:
    flags.DEFINE_enum(name, _DEFAULT[name], choices, text)


with _group("What is trained, and where it goes"):
    flags.DEFINE_string("dataset", None, "Path of the dataset file.")
    flags.DEFINE_string("model", None, "Path of the model file.")
    flags.DEFINE_string(
        "data_dir", None, "The folder of the data, for files that ask for it [data]."
    )
    flags.DEFINE_multi_string("dataset_option", [], "NAME=VALUE for a constant of the file.")
    flags.DEFINE_multi_string("model_option", [], "NAME=VALUE for a constant of the file.")
    flags.DEFINE_string("run_dir", None, "The folder that the run writes to.")
    flags.DEFINE_bool("overwrite", False, "Replace an earlier run in --run_dir.")

with _group("How much"):
    _number("batch_size", "Global batch: examples a step, on all devices together.")
    _number("epochs", "Passes over the training examples.")
    _number("steps_per_epoch", "Steps of an epoch; 0 takes as many as there are examples for.")

    _number("max_bad_examples", "Records of a split that may be skipped as unreadable.")

with _group("How it learns"):
    _choice("optimizer", settings.OPTIMIZERS, "Unless the model file compiles its model.")
    _real("learning_rate", "For --base_batch_size examples a step; default by optimizer.")
    _number("base_batch_size", "The batch that --learning_rate is meant for.")
    _choice("schedule", settings.SCHEDULES, "The learning rate after the warm-up.")
    _real("warmup_fraction", "Share of all steps in which the rate rises, 0 to 1.")
    _real("momentum", "Of sgd and lars.")
    _real("weight_decay", "Not applied to biases and scales.")
    _choice("precision", settings.PRECISIONS, "Of the model.")
    _number("seed", "Of weights, order, augmentation and dropout.")

with _group("The cluster"):
    flags.DEFINE_list("hosts", None, "host:port of every worker, the same on all; first is chief.")
    flags.DEFINE_integer("index", None, "Which of --hosts this worker is, from 0.")
    _number("devices", "Logical CPU devices of each worker, to try things out; 0: the real ones.")
    _choice("collectives", settings.COLLECTIVES, "auto: nccl where GPUs are, else ring.")
    _real("start_timeout", "Seconds to wait for the other workers.")
    _real("heartbeat_timeout", "Seconds that a worker may be silent before all others end.")
    flags.DEFINE_bool("allow_public_network", False, "Let workers have public addresses.")
    _real("step_timeout", "Seconds without progress in a step; 0: learned from the run.")

with _group("How fast"):
    _number("steps_per_execution", "Steps of one on-device loop; 0 makes it last a second.")
    _number("accumulate_steps", "Micro-batches of a step, with one all-reduce for all.")
    _choice("wire_dtype", settings.WIRE_DTYPES, "Dtype of gradients while they travel.")
    _choice("compress", settings.COMPRESSIONS, "For slow links, in place of --wire_dtype.")
    _real("bucket_mb", "MiB of gradients in one all-reduce; 0 measures what is best.")
    flags.DEFINE_string("cache", "none", "Keep examples: none, memory, or a local folder.")
    flags.DEFINE_bool("jit", False, "Let XLA compile forward and backward.")
    flags.DEFINE_bool("measure_efficiency", False, "Time one replica alone first, to compare.")

with _group("What is kept"):
    _number("checkpoint_every_steps", "Steps between checkpoints; 0: as often as costs little.")
    _number("keep_checkpoints", "How many of the last checkpoints stay; 0: none are written.")

with _group("When it fails"):
    flags.DEFINE_integer(
        "restarts", 0, "Restarts in a row without a new checkpoint; 0: none.", lower_bound=0
    )
    _choice("on_nan", settings.ON_NAN, "When a loss isn't finite.")

with _group("For tests of this template"):
    flags.DEFINE_string("inject_fault", "", "Faults that happen: KIND@STEP[:WORKER],...")

with _group("What is shown"):
    flags.DEFINE_bool("dry_run", False, "Show the plan and end, without the other workers.")
    flags.DEFINE_bool("verbose", False, "Leave TensorFlow's own messages in the terminal.")


def parse(arguments: Sequence[str], description: str) -> list[str]:
    """Reads the command line and gives its words; --help shows the flags by concern.

    Raises:
        flags.Error: a flag that isn't there, or a value that it can't have.
    """
    if {"--help", "-h", "--helpshort", "-help"} & set(arguments):
        print(help_text(description))
        for flag in ("dataset", "model"):
            for path in _values(flag, arguments):
                print(printable(_options_text(flag, path)))
        sys.exit(0)
    return list(FLAGS(list(arguments)))


def help_text(description: str) -> str:
    """What the program does, and its flags by concern with their defaults."""
    lines = [description.strip()]
    for title, names in GROUPS.items():
        lines += ["", f"{title}:"]
        for name in names:
            flag = FLAGS[name]
            # absl puts choices before a help text and advice about repeating behind it.
            text = flag.help.split(">: ")[-1].split(";\n")[0]
            choices = getattr(flag.parser, "enum_values", None)
            among = f" One of {', '.join(choices)}." if choices else ""
            default = "" if flag.default in (None, [], False) else f" [{flag.default}]"
            lines.append(f"  --{name:<22}{text}{among}{default}")
    return "\n".join(lines)


def _values(flag: str, arguments: Sequence[str]) -> list[str]:
    """What a flag was given, of words that are not all known: --help may stand among them."""
    return [word.partition("=")[2] for word in arguments if re.match(rf"--?{flag}=.", word)]


def _options_text(flag: str, path: str) -> str:
    """The options of a user's file, with what a value of each may be."""
    try:
        options = options_of(path)
    except tfscale.ConfigError as error:
        return f"\n{error}"
    lines = ["", f"Options of {path} (--{flag}_option=NAME=VALUE):"]
    for option in options:
        about = f"{option.comment} ({option.kind})" if option.comment else option.kind
        lines.append(f"  {option.name:<24}{about} [{option.value}]")
    return "\n".join(lines if options else [*lines, "  none"])


def config() -> tfscale.Config:
    """The run that the flags ask for."""
    values: dict[str, Any] = {name: FLAGS[name].value for name in _DEFAULT}
    if values["run_dir"] is None:
        raise tfscale.ConfigError(
            "--run_dir is missing; expected a folder, for example --run_dir=runs/first"
        )
    options = ("dataset_option", "model_option")
    values |= {name: tuple(values[name]) for name in options}
    return tfscale.Config(**values, given=tuple(name for name in _DEFAULT if FLAGS[name].present))


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


def restarts() -> int:
    """How often in a row a supervisor starts a worker that failed; 0: there is none."""
    return 0 if FLAGS.dry_run else int(FLAGS.restarts)


def dry_run() -> bool:
    """Whether only the plan is shown."""
    return bool(FLAGS.dry_run)


def _required(name: str, example: str) -> str:
    value = FLAGS[name].value
    if not value:
        raise tfscale.ConfigError(
            f"--{name} is missing; expected the path of a file, for example --{name}={example}"
        )
    return str(value)
