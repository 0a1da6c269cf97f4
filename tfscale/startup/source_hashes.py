"""The code that a user brings, as hashes: nodes whose copies differ train different things.

Names are the same on every node, wherever its copy lies: the path that was given for a user's file,
the dotted name for a module.
"""

import hashlib
import inspect
import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from tfscale.user_paths import UserFile, located

_PARTS = ("load", "preprocess", "read", "build", "callbacks")  # of a dataset or model file
_OUR_FOLDER = Path(__file__).resolve().parents[1]
# The program, what a node's own Python starts with, and what is compared by its path.
_NOT_BROUGHT = ("__main__", "__mp_main__", "sitecustomize", "usercustomize")
_MADE_HERE = ("tfscale_userfile_", "__autograph_generated_file")
_LETTERS = 8  # of a hash: enough to tell copies apart, short enough to read


def given_sources(*given: object) -> dict[str, str]:
    """Of what was handed to `tfscale.train`: a file's text, or that of an object's functions.

    What has no source (a notebook's objects may have none) isn't there.
    """
    found: dict[str, str] = {}
    for each in given:
        each = located(each)
        if isinstance(each, UserFile):
            if each.path.is_file():
                found[f"the text of {each.name}"] = _hash(each.path.read_bytes())
        elif isinstance(each, ModuleType) and _file_of(each) is not None:
            found[f"the text of {each.__name__}"] = _hash(_file_of(each).read_bytes())  # type: ignore[union-attr]
        else:
            parts = [each, *(getattr(each, name, None) for name in _PARTS)]
            found |= {f"the text of {name}()": text for name, text in _texts(parts)}
    return found


def source_of(given: object) -> str:
    """One text for all that `given_sources` finds of a file or an object; "" where it has none."""
    return " ".join(given_sources(given).values())


def imported_sources() -> dict[str, str]:
    """Of the modules of the user's own that have been imported so far.

    That is what lies neither in Python's folders nor in this library. The program that was started
    isn't compared: what it brings is compared where it is handed over.
    """
    return {
        f"the text of the module {name}": _hash(file.read_bytes())
        for name, file in own_modules().items()
    }


def own_modules() -> dict[str, Path]:
    """The file of each module of the user's own that has been imported, by its dotted name."""
    libraries = tuple(f"{folder}{os.sep}" for folder in _library_folders())
    found: dict[str, Path] = {}
    for name, module in list(sys.modules.items()):
        if name in _NOT_BROUGHT or name.startswith(_MADE_HERE):
            continue
        # Of the thousands of TensorFlow's modules none is looked for on the disk.
        given = vars(module).get("__file__") if isinstance(module, ModuleType) else None
        file = None if str(given).startswith(libraries) else _file_of(module)
        if file is not None and not str(file).startswith(libraries):
            found[name] = file
    return found


def library_source() -> str:
    """One hash for all files of this library: a node may have an older copy of it."""
    digest = hashlib.sha256()
    for path in sorted(_OUR_FOLDER.rglob("*.py")):
        digest.update(str(path.relative_to(_OUR_FOLDER)).encode() + path.read_bytes())
    return digest.hexdigest()[:_LETTERS]


def _texts(parts: Iterable[object]) -> Iterator[tuple[str, str]]:
    for part in parts:
        if not inspect.isfunction(part):
            continue
        try:
            text = inspect.getsource(part)
        except (OSError, TypeError):
            continue
        yield part.__name__, _hash(text.encode())


def _file_of(module: object) -> Path | None:
    """The Python file of a module; None where it has none that is still there."""
    # A stand-in of some library may answer any attribute, with anything.
    name = vars(module).get("__file__") if isinstance(module, ModuleType) else None
    if not isinstance(name, str) or not name.endswith(".py"):
        return None
    path = Path(name).resolve()
    return path if path.is_file() else None


def _library_folders() -> set[str]:
    """As modules name them, and with links followed."""
    folders = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders += [*site.getsitepackages(), site.getusersitepackages()]
    folders += [str(_OUR_FOLDER), str(_OUR_FOLDER.parent / "launch")]
    return {*folders, *(str(Path(folder).resolve()) for folder in folders)}


def _hash(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:_LETTERS]
