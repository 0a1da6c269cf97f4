"""Machines with a real `sshd` each that are all this machine, for as long as a body lasts.

Each is a network namespace with an address, keys and a mount namespace of its own; one more is
where the launcher runs.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tools.bench import links

PROGRAMS = ("sshd", "ssh", "ssh-keygen", "ssh-keyscan", "ip", "tc", "unshare")
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_START_SECONDS = 30
_SSHD = """\
Port 22
HostKey {folder}/host_key
AuthorizedKeysFile {keys}/id.pub
StrictModes no
UsePAM no
PidFile {folder}/pid
PasswordAuthentication no
PermitRootLogin yes
PermitUserRC no
AcceptEnv NOTHING
"""
_CLIENT = """\
Host *
    IdentityFile {folder}/id
    IdentitiesOnly yes
    UserKnownHostsFile {folder}/known_hosts
    GlobalKnownHostsFile none
Host first
    HostName {first}
"""


def why_not():
    """Why there can be no such machines here; "" if there can."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]
    if missing:
        return f"it needs openssh-server and iproute2 ({', '.join(missing)} is missing)"
    return "" if os.getuid() == 0 else "it needs root"


@dataclass
class Nodes:
    """What a test sees of them."""

    folder: Path
    link: links.ShapedLink
    hosts: tuple  # addresses of the nodes
    private: Path  # of which each node has its own

    @property
    def config(self):
        """The flag by which ssh finds its configuration."""
        return f"--ssh_config={self.folder / 'config'}"

    def here(self, command):
        """The command as the launcher's machine runs it."""
        return ["ip", "netns", "exec", self.link.namespaces[-1], *command]

    def processes(self, index):
        """Numbers of all processes of a node."""
        listing = ["ip", "netns", "pids", self.link.namespaces[index]]
        return [int(pid) for pid in subprocess.check_output(listing, text=True).split()]

    def daemon(self, index):
        """The number of its sshd."""
        return int((self.folder / str(index) / "pid").read_text())

    def sees(self, index, path):
        """A path as the node has it."""
        return Path(f"/proc/{self.daemon(index)}/root{path}")

    def begin(self, index):
        """Starts a node's sshd."""
        pid = self.folder / str(index) / "pid"
        pid.unlink(missing_ok=True)
        mount = f"mount -t tmpfs none {shlex.quote(str(self.private))}"
        daemon = f"{mount} && exec {shutil.which('sshd', path=_PATH)} -f {pid.parent}/config"
        words = ["ip", "netns", "exec", self.link.namespaces[index]]
        environ = {name: os.environ[name] for name in _OURS if name in os.environ}
        subprocess.run(
            [*words, "unshare", "--mount", "sh", "-c", daemon],
            check=True,
            timeout=_START_SECONDS,
            env={"PATH": _PATH, **environ},
        )
        deadline = time.monotonic() + _START_SECONDS
        while not (pid.exists() and pid.read_text().strip()):
            assert time.monotonic() < deadline, "sshd doesn't start"
            time.sleep(0.05)

    def kill(self, index):
        """Ends all that runs on a node, its sshd too, as a loss of power does."""
        deadline = time.monotonic() + _START_SECONDS
        while pids := self.processes(index):
            assert time.monotonic() < deadline, pids
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)


_OURS = ("TFSCALE_TEST_SESSION",)  # by which the sweeper finds what a killed session has left


@contextlib.contextmanager
def machines(folder, count=2):
    """Gives `count` nodes.

    Args:
        folder: for keys and configurations.
        count: how many; the launcher's machine is one more.

    Raises:
        ConfigError: there can be no network namespaces here.
    """
    private = folder / "private"
    private.mkdir(parents=True)
    with links.shaped(count + 1, 1000) as link:
        hosts = tuple(each.partition(":")[0] for each in link.hosts(count))
        nodes = Nodes(folder, link, hosts, private)
        _key(folder / "id")
        known = []
        for index, host in enumerate(hosts):
            own = folder / str(index)
            own.mkdir()
            _key(own / "host_key")
            (own / "config").write_text(_SSHD.format(folder=own, keys=folder))
            known.append(f"{host} {(own / 'host_key.pub').read_text()}")
        (folder / "known_hosts").write_text("".join(known))
        (folder / "config").write_text(_CLIENT.format(folder=folder, first=hosts[0]))
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd's empty folder, which a service would make
        try:
            for index in range(count):
                nodes.begin(index)
            yield nodes
        finally:
            for index in range(count + 1):
                nodes.kill(index)


def _key(path):
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True, timeout=30
    )
