"""The working tree, brought to nodes that don't share it."""

import os
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tfscale.errors import ConfigError, WorkerError
from tfscale.supervise.gang import Gang, Streams
from tools.ssh.connection import Client, quoted

_SECONDS = 600.0
_LEFT_OUT = (".venv", ".git", "runs", "__pycache__")


def copy_tree(
    source: Path, folder: str, targets: Sequence[str], client: Client, say: Callable[[str], None]
) -> None:
    """Brings the files of a working tree to each node; what else is there stays.

    One node after the other: several may share the folder.

    Args:
        source: what git knows of it and what it doesn't ignore, or all but `.venv` and `runs`.
        folder: there; it is made.
        targets: of the nodes.
        client: how ssh is called.
        say: gets a line for each node.

    Raises:
        ConfigError: a node can't be reached, or has no room.
    """
    # tar is what every system has; rsync would have to be there on both sides.
    command = f"mkdir -p {quoted(folder)} && cd {quoted(folder)} && exec tar -x -o -f -"
    with tempfile.TemporaryFile() as packed, Gang() as gang:
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for name in files_of(source):
                tar.add(source / name, arcname=name, recursive=False)
        size = packed.tell() / 2**20
        for target in dict.fromkeys(targets):
            packed.seek(0)
            with tempfile.TemporaryFile() as said:
                streams = Streams(stdin=packed, stdout=said, stderr=said)
                member = gang.start(client.words(target, command), streams=streams)
                code = member.wait(time.monotonic() + _SECONDS)
                said.seek(0)
                text = said.read().decode(errors="replace").strip()
            if code is None:
                raise WorkerError(f"Copying to {target} took more than {_SECONDS:g} s", text)
            if code:
                raise ConfigError(
                    f"Copying to {target} has failed: {text or f'exit code {code}'}; expected a "
                    f"connection, and room in {folder}. Try: ssh {target} true"
                )
            say(f"copied {size:.1f} MiB to {target}:{folder}")


def files_of(source: Path) -> list[str]:
    """Names of the files of a working tree, relative to it and in order."""
    found = _of_git(source)
    if found is None:
        found = []
        for folder, folders, files in os.walk(source):
            folders[:] = [name for name in folders if name not in _LEFT_OUT]
            names = (*files, *(name for name in folders if os.path.islink(f"{folder}/{name}")))
            found += [os.path.relpath(f"{folder}/{name}", source) for name in names]
    there = [name for name in found if name.split("/")[0] not in _LEFT_OUT]
    return sorted(
        name for name in there if (source / name).is_symlink() or (source / name).is_file()
    )


def _of_git(source: Path) -> list[str] | None:
    """What git says; None without it."""
    if not (source / ".git").exists():
        return None
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    with tempfile.TemporaryFile() as out, Gang() as gang:
        streams = Streams(stdout=out, stderr=subprocess.DEVNULL)
        try:
            member = gang.start(listing, folder=source, streams=streams)
        except OSError:
            return None
        if member.wait(time.monotonic() + _SECONDS) != 0:
            return None
        out.seek(0)
        return [os.fsdecode(name) for name in out.read().split(b"\0") if name]
