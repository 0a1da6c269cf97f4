"""Whose a run's folder is: this user's alone when we make it, and said if others may write to it.

A model is loaded from it, and a script beside it is run: whoever may write there may run code in
this user's name.
"""

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

_PRIVATE = 0o700


def make_private(path: Path) -> bool:
    """Makes a folder that nobody else may look into, and its parents as the umask says.

    Returns:
        Whether it was made; one that is there keeps its mode.

    Raises:
        OSError: it can't be made, or there is something else in its place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=_PRIVATE)
    except FileExistsError:
        if not path.is_dir():
            raise
        return False
    return True


def missing_folders(path: Path) -> list[Path]:
    """What of a folder and its parents isn't there, from the innermost one outwards."""
    return [folder for folder in (path, *path.parents) if not folder.exists()]


def remove_empty(folders: Iterable[Path]) -> None:
    """Removes folders that nobody has put anything into.

    Args:
        folders: from the innermost one outwards.
    """
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def exposure_of(path: Path) -> str:
    """Who else may write to a folder, as the end of a sentence; empty if nobody may.

    A group with the number of the user is taken for the user's own, as most systems make one.
    """
    found = path.stat()
    if found.st_uid not in (os.getuid(), 0):
        return f"belongs to another user (number {found.st_uid})"
    if found.st_mode & stat.S_IWOTH:
        return "may be written to by everybody"
    if found.st_mode & stat.S_IWGRP and found.st_gid != found.st_uid:
        return f"may be written to by its group (number {found.st_gid})"
    return ""
