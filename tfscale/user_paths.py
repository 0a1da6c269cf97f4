"""Where a user's file is: said once, at the start, because the file may change the folder."""

import os
from dataclasses import dataclass
from pathlib import Path

from tfscale.errors import ConfigError


@dataclass(frozen=True)
class UserFile:
    """A user's file: what it is called, and where it is, whatever becomes the current folder.

    Args:
        name: its path as it was given, for messages and to compare workers by.
        folder: which was the current one then.
    """

    name: str
    folder: Path

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self.folder / os.path.expanduser(self.name)


def located(given: object) -> object:
    """A path with the folder that it is meant from; anything else as it is.

    Called before anything of a user's runs, which may change the folder.
    """
    if isinstance(given, str | os.PathLike):
        return UserFile(os.fspath(given), current_folder())
    return given


def current_folder() -> Path:
    """As absolute path; one that somebody has removed finds nothing, and has no name."""
    try:
        return Path.cwd()
    except OSError:
        return Path()


def name_of(given: object) -> str:
    """How to name a user's file in a message: its path as given, or what Python calls it."""
    if isinstance(given, UserFile):
        return given.name
    if isinstance(given, str | os.PathLike):
        return os.fspath(given)
    return str(getattr(given, "__name__", type(given).__name__))


def require_python_file(file: UserFile) -> None:
    """Refuses what isn't one.

    Raises:
        ConfigError: there is no such file, or it is something else.
    """
    path = file.path
    try:
        is_file, is_there = path.is_file(), path.exists()
    except OSError:  # a name that no file can have
        is_file = is_there = False
    if not is_file or path.suffix != ".py":
        came = f"{file.name} is no Python file" if is_there else f"There is no file {file.name}"
        raise ConfigError(
            f"{came} (in {file.folder}); expected the path of a .py file, "
            "for example datasets/digits.py."
        )
