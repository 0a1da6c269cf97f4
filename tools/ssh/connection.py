"""The words of the OpenSSH client, and what its own words mean.

It has no other way to say why there is no connection than a line of text and exit code 255, for
all of them (ssh(1), "EXIT STATUS"; sshconnect.c). `tests/jobs/test_ssh.py` meets the real ones.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from tfscale.errors import CONFIG_CODE, START_TIMEOUT_CODE, End

NO_CONNECTION = 255
_CONNECT_SECONDS = 10
_SILENT_SECONDS = 10  # three of them, and a node that doesn't answer is lost

# A key that isn't known is refused, as is a password: BatchMode has nobody to ask. The rest keeps a
# user's configuration from sharing this connection with another one, or from opening ports for it.
_OPTIONS = (
    f"ConnectTimeout={_CONNECT_SECONDS}",
    f"ServerAliveInterval={_SILENT_SECONDS}",
    "ServerAliveCountMax=3",
    "ControlMaster=no",
    "ControlPath=none",
    "ClearAllForwardings=yes",
    "RemoteCommand=none",
    "LogLevel=ERROR",
)
_REFUSALS = {
    r"IDENTIFICATION HAS CHANGED": (
        "its host key isn't the one that is known; expected the same machine as before. If it was "
        "installed anew: ssh-keygen -R {host}, then once: ssh {target} true"
    ),
    r"Host key verification failed|host key is known": (
        "its host key isn't known; expected it in known_hosts. Compare it once: ssh {target} true "
        "(or: ssh-keyscan {host} >> ~/.ssh/known_hosts, where the network is trusted)"
    ),
    r"Permission denied|Too many authentication failures|No supported authentication": (
        "it doesn't let this user in, and no password is asked for; expected a key that it knows. "
        "Type once: ssh-copy-id {target}"
    ),
    r"Name or service not known|nodename nor servname|No address associated|hostname contains": (
        "its name is unknown; expected a host, or a name of ssh's configuration. "
        "Try: ssh {target} true"
    ),
    r"Bad configuration|configuration option|config(uration)? file|Bad owner|^command-line": (
        "ssh refuses its options; expected what ssh_config(5) has in --ssh_option and --ssh_config"
    ),
    r"Unable to negotiate": (
        "it shares no cipher or key type with this ssh; expected one. See ssh_config(5)"
    ),
}


@dataclass(frozen=True)
class Client:
    """How the OpenSSH client is called.

    Args:
        config: its configuration; empty for the user's own.
        options: more of its options, `Name=value`; the first of a name counts.
    """

    config: str = ""
    options: tuple[str, ...] = ()

    def words(self, target: str, command: str) -> list[str]:
        """Program and arguments that run a command there.

        Args:
            target: of a `Node`. It stands behind `--`: whatever it is called, it is no option.
            command: that a shell there reads.
        """
        own = ["-F", self.config] if self.config else []
        for option in ("BatchMode=yes", *self.options, *_OPTIONS):
            own += ["-o", option]
        return ["ssh", *own, "-T", "--", target, command]


def in_folder(folder: str, words: Sequence[str]) -> str:
    """The command for a shell there that runs words in a folder, all of them taken literally."""
    return f"cd {quoted(folder)} && exec {shlex.join(words)}"


def quoted(folder: str) -> str:
    """A folder there as a word for a shell: one in the user's home if it isn't a whole path."""
    folder = folder.removeprefix("~/")
    return shlex.quote(f"./{folder}" if folder.startswith(("-", "~")) else folder)


def end_without_meeting(target: str, code: int, said: Sequence[str]) -> End:
    """Why nothing was started there; of kind `START_TIMEOUT` if it may go better a moment later.

    Args:
        target: of a `Node`.
        code: of ssh.
        said: the lines of its standard error.
    """
    last = said[-1].strip() if said else "without a word"
    if code != NO_CONNECTION:
        return End.of(
            CONFIG_CODE,
            f"On {target} nothing could be started (exit code {code}: {last}); expected this "
            "repository and its packages there. See --folder, --python, and --copy, which brings "
            "the working tree there.",
        )
    for pattern, why in _REFUSALS.items():
        if any(re.search(pattern, line) for line in said):
            told = why.format(target=shlex.quote(target), host=target.rpartition("@")[2])
            return End.of(CONFIG_CODE, f"No connection to {target}: {told}. ssh said: {last}")
    return End.of(START_TIMEOUT_CODE, f"No connection to {target} yet. ssh said: {last}")
