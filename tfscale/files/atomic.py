"""A file is there as a whole or not at all: written under another name, made durable, renamed."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

TEMPORARY_PREFIX = ".tmp-"  # of what a process that was killed may have left behind


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives another name to write to; what the body wrote there takes the place of `path`.

    If the body fails, `path` is what it was, and nothing else is left.

    Args:
        path: of the file; its folder is there.

    Raises:
        OSError: it couldn't be written.
    """
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{path.name}")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file in UTF-8, whole or not at all.

    Raises:
        OSError: it couldn't be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def remove_unfinished(folder: Path) -> None:
    """Removes what killed processes have left unfinished in a folder; nobody may write there now.

    Args:
        folder: it need not be there. What can't be removed stays.
    """
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Makes a file durable, or the names of a folder, so that it survives a loss of power.

    Raises:
        OSError: it couldn't be done.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
