"""The flags of launch/worker.py, in groups, and what they mean to the library.

A setting of a run is a line of `tfscale.Config`; only what is none is written here.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import flags

import tfscale
from tfscale import settings
from tfscale.cluster.discovery import AUTO, NAMES, Asked
from tfscale.process.printable import printable
from tfscale.process.terminal import silence
from tfscale.settings import SETTINGS, Setting
from tfscale.user_files import options_of

FLAGS = flags.FLAGS

# What is no setting of a run, by its title in --help.
_OWN: dict[str, list[flags.FlagHolder[Any]]] = {
    settings.TRAINED: [
        flags.DEFINE_string("dataset", None, "Path of the dataset file."),
        flags.DEFINE_string("model", None, "Path of the model file."),
    ],
    settings.CLUSTER: [
        flags.DEFINE_list(
            "hosts", None, "host:port of every worker, the same on all; first is chief."
        ),
        flags.DEFINE_integer("index", None, "Which of --hosts this worker is, from 0."),
        flags.DEFINE_enum("cluster", AUTO, NAMES, "Who says who the workers are, without --hosts."),
        flags.DEFINE_string("leader", "", "Host of worker 0, where no launcher says it."),
        flags.DEFINE_integer(
            "processes_per_node",
            1,
            "Workers that this command starts on its node; 1: one with all of its GPUs.",
            lower_bound=1,
            upper_bound=1024,
        ),
        flags.DEFINE_integer("process_of_node", None, "Which of them this is; set by the command."),
    ],
    settings.FAILURE: [
        flags.DEFINE_integer(
            "restarts", 0, "Restarts in a row without a new checkpoint; 0: none.", lower_bound=0
        ),
    ],
    "What is shown": [
        flags.DEFINE_bool("dry_run", False, "Show the plan and end, without the other workers."),
        flags.DEFINE_bool("verbose", False, "Leave TensorFlow's own messages in the terminal."),
    ],
}
_DEFINE: dict[object, Callable[..., flags.FlagHolder[Any]]] = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    float | None: flags.DEFINE_float,
    bool: flags.DEFINE_bool,
    str: flags.DEFINE_string,
    str | None: flags.DEFINE_string,
    tuple[str, ...]: flags.DEFINE_multi_string,
}


def _defined(setting: Setting) -> flags.FlagHolder[Any]:
    if setting.choices and not setting.is_path:
        return flags.DEFINE_enum(setting.name, str(setting.default), setting.choices, setting.help)
    return _DEFINE[setting.kind](setting.name, setting.default, setting.help)


# Title of --help: names of its flags.
GROUPS = {
    title: [
        *(flag.name for flag in _OWN.get(title, ())),
        *(_defined(each).name for each in SETTINGS.values() if each.group == title),
    ]
    for title in dict.fromkeys([*(each.group for each in SETTINGS.values()), *_OWN])
}


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
    width = 2 + max(len(name) for names in GROUPS.values() for name in names)
    for title, names in GROUPS.items():
        lines += ["", f"{title}:"]
        for name in names:
            flag = FLAGS[name]
            # absl puts choices before a help text and advice about repeating behind it.
            text = flag.help.split(">: ")[-1].split(";\n")[0]
            choices = getattr(flag.parser, "enum_values", None)
            among = f" One of {', '.join(choices)}." if choices else ""
            default = f" [{flag.default}]" if flag.default else ""
            lines.append(f"  --{name:<{width}}{text}{among}{default}")
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
    width = 2 + max((len(option.name) for option in options), default=0)
    for option in options:
        about = f"{option.comment} ({option.kind})" if option.comment else option.kind
        lines.append(f"  {option.name:<{width}}{about} [{option.value}]")
    return "\n".join(lines if options else [*lines, "  none"])


def config() -> tfscale.Config:
    """The run that the flags ask for."""
    values: dict[str, Any] = {name: FLAGS[name].value for name in SETTINGS}
    if values["run_dir"] is None:
        raise tfscale.ConfigError(
            "--run_dir is missing; expected a folder, for example --run_dir=runs/first"
        )
    values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return tfscale.Config(**values, given=tuple(name for name in SETTINGS if FLAGS[name].present))


def cluster(
    environ: Mapping[str, str], terminal: tfscale.Terminal | None = None
) -> tfscale.Cluster:
    """The cluster that the flags, `TF_CONFIG` or a launcher describe.

    Args:
        environ: of this process.
        terminal: where it is said who is waited for; None where nobody may be.
    """
    asked = Asked(
        FLAGS.cluster,
        FLAGS.leader,
        FLAGS.run_dir or "",
        FLAGS.start_timeout,
        silence if terminal is None else terminal.complain,
        waits=terminal is not None,
        processes=FLAGS.processes_per_node,
        process=FLAGS.process_of_node or 0,
    )
    return tfscale.resolve(FLAGS.hosts, FLAGS.index, environ, asked)


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
    """How often in a row a supervisor starts workers that failed."""
    return int(FLAGS.restarts)


def processes() -> int:
    """How many workers this command starts on its node."""
    return int(FLAGS.processes_per_node)


def is_supervisor() -> bool:
    """Whether this process starts workers instead of being one."""
    is_one_of_several = FLAGS.process_of_node is not None
    starts_several = FLAGS.processes_per_node > 1 and not is_one_of_several
    return (FLAGS.restarts > 0 or starts_several) and not FLAGS.dry_run


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
