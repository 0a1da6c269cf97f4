"""The flags of launch/ssh.py, and what they mean to the library."""

from collections.abc import Callable, Mapping
from pathlib import Path

from absl import flags

from tfscale.cluster.dialects.said import DEFAULT_PORT
from tfscale.errors import ConfigError
from tfscale.supervise.commands import refuse_misplaced
from tools.ssh.connection import Client
from tools.ssh.host_files import SCHEDULERS, hosts_from, hosts_in
from tools.ssh.launches import Launches
from tools.ssh.launching import Start, variables
from tools.ssh.nodes import EXAMPLE, Node, nodes_of

_KINDS = ("worker", "evaluate", "doctor")
_HOSTS = flags.DEFINE_list("hosts", [], "Of ssh: host, user@host or host:port; worker 0 is first.")
_FILE = flags.DEFINE_string("hosts_file", "", "A file with a host in each line, in their place.")
_FROM = flags.DEFINE_enum("hosts_from", None, SCHEDULERS, "The scheduler whose job this is.")
_ADDRESSES = flags.DEFINE_list("addresses", [], "Where workers reach each other, a host each.")
_PORT = flags.DEFINE_integer("port", DEFAULT_PORT, "Of the first worker of each node.", 1, 65535)
_PROCESSES = flags.DEFINE_integer("processes_per_node", 1, "Workers of each node.", lower_bound=1)
_PROGRAM = flags.DEFINE_enum("program", "worker", _KINDS, "What is started, of launch/.")
_FOLDER = flags.DEFINE_string(
    "folder", "", "Of the repository on the nodes; this one's by default."
)
_PYTHON = flags.DEFINE_string("python", ".venv/bin/python", "Of the nodes, in that folder.")
_ENV = flags.DEFINE_multi_string("env", [], "NAME=VALUE for the workers' environment, or NAME.")
_OPTION = flags.DEFINE_multi_string("ssh_option", [], "Name=value, as of ssh -o.")
_CONFIG = flags.DEFINE_string("ssh_config", "", "A configuration of ssh, as of ssh -F.")
COPY = flags.DEFINE_bool("copy", False, "Copy the working tree to the nodes first.")
RESTARTS = flags.DEFINE_integer(
    "restarts", 3, "Restarts in a row without a new checkpoint.", lower_bound=0
)
DETACH = flags.DEFINE_bool("detach", False, "Go on without this terminal.")
# Of a launch that is there: each flag and what it does.
_ASKED: list[tuple[flags.FlagHolder[bool | None], Callable[[Launches], int]]] = [
    (flags.DEFINE_bool("attach", False, "Show a detached launch's lines."), Launches.attach),
    (flags.DEFINE_bool("status", False, "Say what runs, and how far it is."), Launches.status),
    (flags.DEFINE_bool("stop", False, "Have all workers save and end."), Launches.stop),
]


def parse(words: list[str]) -> list[str]:
    """Reads the flags; gives the words, those behind `--` among them."""
    try:
        return list(flags.FLAGS(words))
    except flags.UnrecognizedFlagError as error:
        refuse_misplaced(error.flagname, f"launch/ssh.py {EXAMPLE}")
        raise


def asked() -> Callable[[Launches], int] | None:
    """What is asked of a launch that is there; None to start one."""
    found = [ask for flag, ask in _ASKED if flag.value]
    if len(found) + bool(DETACH.value) > 1:
        raise ConfigError(
            "--detach, --attach, --status and --stop came together; expected one of them. "
            "Type them one after the other"
        )
    return found[0] if found else None


def start(worker_flags: tuple[str, ...], environ: Mapping[str, str]) -> Start:
    """What is started."""
    return Start(
        program=_PROGRAM.value,
        worker_flags=worker_flags,
        folder=_FOLDER.value,
        python=_PYTHON.value,
        environ=variables(_ENV.value, environ),
        client=Client(_CONFIG.value, tuple(_OPTION.value)),
    )


def nodes(environ: Mapping[str, str]) -> list[Node]:
    """Where it is started."""
    given = [bool(_HOSTS.value), bool(_FILE.value), bool(_FROM.value)]
    if sum(given) != 1:
        raise ConfigError(
            f"{sum(given)} of --hosts, --hosts_file and --hosts_from came; expected one that names "
            f"the nodes. Type, for example: launch/ssh.py {EXAMPLE} -- ..."
        )
    hosts = _HOSTS.value
    if _FILE.value:
        hosts = hosts_in(Path(_FILE.value), "--hosts_file")
    elif _FROM.value:
        hosts = hosts_from(_FROM.value, environ)
    return nodes_of(
        hosts,
        reached_at=_ADDRESSES.value,
        port=_PORT.value,
        processes_per_node=_PROCESSES.value,
    )
