"""A launch on other machines: which processes here stand for the workers there."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tfscale.errors import ConfigError
from tfscale.files.run_directory import LOGS
from tfscale.settings import SETTINGS
from tfscale.startup.environment import handing_on
from tfscale.supervise.commands import refuse_own, value_of
from tfscale.supervise.group_attempt import Launch, say
from tfscale.supervise.restarts import supervise
from tools.ssh.connection import Client, in_folder
from tools.ssh.copying import copy_tree
from tools.ssh.courier import Errand
from tools.ssh.launches import Launches, state_folder
from tools.ssh.messages import Order
from tools.ssh.nodes import Node

_ROOT = Path(__file__).resolve().parents[2]  # of the working tree


@dataclass(frozen=True)
class Start:
    """What is started on the nodes, and how.

    Args:
        program: of launch/: `worker`, `evaluate`, `doctor`.
        worker_flags: what all workers get alike.
        folder: of the repository there, in the user's home if it isn't a whole path; "" for the
            same as here.
        python: of that folder, or a whole path.
        environ: what the workers' environment has beside the nodes'.
        client: how ssh is called.
    """

    program: str
    worker_flags: tuple[str, ...]
    folder: str = ""
    python: str = ".venv/bin/python"
    environ: Mapping[str, str] = field(default_factory=dict)
    client: Client = Client()

    @property
    def place(self) -> str:
        """The folder of the repository on the nodes."""
        return self.folder or str(_ROOT)

    @property
    def run_dir(self) -> str:
        """Of a training; nothing else leaves anything there."""
        return value_of(self.worker_flags, "run_dir") if self.program == "worker" else ""

    def launches(self, environ: Mapping[str, str]) -> Launches:
        """Those of this run from this machine, as its user's environment says where they are."""
        what = [self.run_dir] if self.run_dir else self.worker_flags
        return Launches(state_folder(environ, self.program, self.place, *what))


def run(
    start: Start,
    nodes: Sequence[Node],
    environ: Mapping[str, str],
    *,
    restarts: int = 0,
    copies: bool = False,
) -> int:
    """Runs the workers until they are done, as those of this machine are run.

    Args:
        start: what is started.
        nodes: where.
        environ: of the launcher.
        restarts: as of `supervise`.
        copies: whether the working tree is brought there first.

    Returns:
        As of `supervise`.

    Raises:
        ConfigError: there is no ssh, a flag is meant for somebody else, or this run is launched
            already.
    """
    if shutil.which("ssh", path=environ.get("PATH")) is None:
        raise ConfigError("There is no ssh here; expected OpenSSH's client. Install openssh-client")
    refuse_own(start.worker_flags, "launch/ssh.py --hosts=node0,node1")
    launches = start.launches(environ)

    # The member of worker 0, which sees the run's folder, decides about what goes on.
    commands = courier_commands(start, nodes, launches.run_dir)

    def work() -> int:
        if len(commands) > 1:  # one alone has the terminal to itself
            _say(f"what the workers say is filed in {launches.run_dir / LOGS}")
        if copies:
            targets = [node.target for node in nodes]
            copy_tree(_ROOT, start.place, targets, start.client, _say)
        # They run in whatever folder the user is in, which must not lend them modules.
        own = {**environ, "PYTHONPATH": str(_ROOT), **handing_on(start.environ)}
        launch = Launch(lambda goes_on: commands, own, launches.run_dir)
        return supervise(launch, restarts=restarts if start.run_dir else 0)

    return launches.run(work)


def courier_commands(start: Start, nodes: Sequence[Node], folder: Path) -> list[list[str]]:
    """The command of each worker's courier.

    Args:
        start: what is started.
        nodes: where.
        folder: where worker 0's courier leaves how far the run is.
    """
    module = [start.python, "-m", "tools.ssh.member"]
    there = in_folder(start.place, module)
    places = [(node.target, address) for node in nodes for address in node.addresses]
    hosts = ",".join(address for _, address in places)
    patience = value_of(start.worker_flags, "start_timeout")
    commands = []
    for index, (target, _) in enumerate(places):
        own = ["--cluster=none"]
        own += [f"--hosts={hosts}", f"--index={index}"] * (len(places) > 1)
        order = Order(
            (f"launch/{start.program}.py", *own, *start.worker_flags),
            {},  # which the courier knows
            "" if index else start.run_dir,
        )
        errand = Errand(
            target,
            tuple(start.client.words(target, there)),
            order.as_text(),
            "" if index else str(folder),
            _seconds(patience),
        )
        courier = [sys.executable, "-P", "-m", "tools.ssh.courier"]
        commands.append([*courier, errand.as_text()])
    return commands


def variables(words: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of words, each `NAME=VALUE`, or `NAME` for one of the launcher's own.

    Args:
        words: as they came.
        environ: of the launcher.

    Raises:
        ConfigError: a word is none, or a variable isn't there.
    """
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name.isidentifier() or not (equals or name in environ):
            raise ConfigError(
                f"--env={word} is no variable; expected NAME=VALUE, or the NAME of one that is set "
                "here, for example --env=NCCL_SOCKET_IFNAME=eth0"
            )
        found[name] = value if equals else environ[name]
    return found


def _seconds(text: str) -> float:
    """The workers' patience; what is no number they refuse themselves."""
    try:
        return float(text)
    except ValueError:
        return float(str(SETTINGS["start_timeout"].default))


def _say(text: str) -> None:
    say(text, is_alone=False)
