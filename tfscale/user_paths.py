"""Where a user's file or folder is.

Said once, at the start, because the file may change the current folder.
"""

import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from tfscale.errors import ConfigError

_REMOTE = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*)://")
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # controls, bytes that are no text, ends of lines


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


def local_path(given: object, flag: str) -> str:
    """A path of this machine as it is meant: absolute, with the user's home in the place of `~`.

    Links in it stay what they are. A remote store would otherwise become a folder `gs:` that is
    lost with the machine.

    Args:
        given: a text or a `pathlib.Path`.
        flag: what it was given as, for messages.

    Raises:
        ConfigError: it is no path, is that of a remote store, or can't be shown; or it is relative
            to a folder that isn't there any more.
    """
    text = os.fspath(given) if isinstance(given, os.PathLike) else given
    if not isinstance(text, str):
        raise ConfigError(f"{flag} is {text!r}; expected a path, e.g. {flag}=runs/first")
    if not text.strip():
        raise ConfigError(f"{flag} is empty; expected a folder, e.g. {flag}=runs/first")
    if any(unicodedata.category(letter) in _UNPRINTABLE for letter in text):
        # A line break would end a printed command half-way, and NUL no file can have.
        raise ConfigError(
            f"{flag}={text!r} has a character that can't be shown; expected letters, digits, "
            f"spaces and signs. Use for example {flag}=runs/first."
        )
    if remote := _REMOTE.match(text):
        raise ConfigError(
            f"{flag}={text} is in a remote store ({remote[1]}://); expected a folder of this "
            "machine, or of a file system that is mounted on it. Use a local one, for example "
            f"{flag}=runs/first, and copy it when the run has ended, or mount the store."
        )
    path = os.path.expanduser(text)
    if path.startswith("~"):
        raise ConfigError(
            f"{flag}={text} is in the home of a user who isn't known here; expected one who is, "
            f"or another folder. Use {flag}=./{text} if that is its name."
        )
    if not os.path.isabs(path) and not current_folder().is_absolute():
        raise ConfigError(
            f"{flag}={text} is relative to the current folder, which isn't there any more; "
            "expected one that is. Go to another folder, or give the whole path."
        )
    return str(current_folder() / path)


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
