"""Loads a user's dataset or model file, and sets the constants in it that the user may choose.

Such a file is plain Python, named by its path. Its lower-case constants are its options:
`--model_option=depth=18` replaces the `depth = 50` in it. The file runs once, with its own values,
and the constants are replaced after that; what it computed from them while running stays.

What stands beside the file it may import, as where `python FILE` runs it.

Processes that the file starts find it too. What runs in them is sent by the names of its module
and its function, so that a new Python has to import the module: a folder at the end of `sys.path`,
which it is given, has a short module for each file, which loads it with the same options.
"""

import ast
import importlib.util
import os
import re
import shlex
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tfscale.errors import ConfigError
from tfscale.user_paths import UserFile, current_folder, require_python_file

_PREFIX = "tfscale_userfile_"
_FOR_OTHERS = """\
from tfscale.user_files import load_again

load_again(__name__, {path!r}, {options!r})
"""

_folders: list[str] = []  # the one that other processes import from, once there is one
_beside: list[str] = []  # folders of users' files, which were put into sys.path
_before: list[set[str]] = []  # which modules there were when the first of them was


def load_module(file: str | Path | UserFile, options: Sequence[str]) -> ModuleType:
    """Run a user's Python file as a module of its own and set its options.

    The module is in `sys.modules` under a name that no other has, so that `inspect` and `pickle`
    find it; two loads of one file are two modules. Processes that are started from this one can
    import it by that name, for which `sys.path` gets a folder at its end.

    Args:
        file: its path.
        options: texts `NAME=VALUE`; the constant's present type says how VALUE is read.

    Raises:
        ConfigError: there is no such file, it fails when run, or an option does not fit it.
    """
    found = file if isinstance(file, UserFile) else UserFile(os.fspath(file), current_folder())
    module = _load(_free_name(found.path), found, options)
    # Only now: a file that starts processes while it is imported would be started by each of them.
    _let_others_import(module, options)
    return module


def load_again(name: str, path: str, options: Sequence[str]) -> None:
    """Loads a user's file in a process that one has started which had loaded it before.

    Args:
        name: of the module, there and here.
        path: absolute.
        options: as of `load_module`.

    Raises:
        ConfigError: as `load_module`.
    """
    _load(name, UserFile(path, Path()), options)


def _load(name: str, file: UserFile, options: Sequence[str]) -> ModuleType:
    module = _run(name, file)
    try:
        for option in options:
            _set_option(module, option, file.name)
    except ConfigError:
        del sys.modules[name]
        raise
    return module


def _let_others_import(module: ModuleType, options: Sequence[str]) -> None:
    if not _folders:
        _folders.append(tempfile.mkdtemp(prefix="tfscale-"))  # of this user alone
        sys.path.append(_folders[0])
    text = _FOR_OTHERS.format(path=module.__file__, options=list(options))
    Path(_folders[0], f"{module.__name__}.py").write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Option:
    """A constant of a user's file that a flag may set.

    Args:
        name: of the constant.
        value: as the file has it.
        kind: what a value may be, in words.
        comment: what stands behind it in its line.
    """

    name: str
    value: str
    kind: str
    comment: str


def options_of(path: str | Path) -> list[Option]:
    """The options of a file, read off its text: nothing of it is run.

    What a constant is computed from is left out, because only running would tell.

    Raises:
        ConfigError: there is no such file, or it doesn't parse.
    """
    text = _text_of(UserFile(os.fspath(path), current_folder()))
    found = {}
    for node in ast.parse(text).body:
        named = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if not isinstance(named, ast.Name) or getattr(node, "value", None) is None:
            continue
        try:
            value = ast.literal_eval(node.value)  # type: ignore[attr-defined]  # it was just found
        except ValueError:
            continue
        if _is_option(named.id, value):
            line = text.splitlines()[(node.end_lineno or 1) - 1]
            comment = line[node.end_col_offset or 0 :].strip().removeprefix("#").strip()
            found[named.id] = Option(named.id, _written(value), _expected(value), comment)
    return list(found.values())


def _text_of(file: UserFile) -> str:
    require_python_file(file)  # a device would be read without end
    try:
        text = file.path.read_text(encoding="utf-8")
        ast.parse(text)
    except (OSError, SyntaxError, ValueError) as error:
        reason = getattr(error, "strerror", None) or f"{error}"
        raise ConfigError(
            f"{file.name} can't be read as Python ({reason}); expected the path of a .py file, for "
            "example datasets/digits.py."
        ) from error
    return text


def forget_modules() -> None:
    """Takes the users' files out of `sys.modules`: a training of the same process loads its own.

    What was made of them goes on to work; with the rest, what they had loaded may be forgotten.
    """
    for name in [name for name in sys.modules if name.startswith(_PREFIX)]:
        del sys.modules[name]
    for name in [name for name in sys.modules if _stands_beside(name)]:
        del sys.modules[name]
    for folder in _folders:
        shutil.rmtree(folder, ignore_errors=True)
    sys.path[:] = [one for one in sys.path if one not in (*_folders, *_beside)]
    for ones in (_folders, _beside, _before):
        ones.clear()


def require_function(module: object, name: str, path: str | Path) -> Callable[..., Any]:
    """Give the function `name` of a user's module, or say what the file at `path` lacks.

    Raises:
        ConfigError: it has none, or the name stands for something that cannot be called.
    """
    function = getattr(module, name, None)
    if callable(function):
        return function  # type: ignore[no-any-return]  # callable() knows nothing of the result
    if hasattr(module, name):
        came = f"{path} has `{name}` = {_shown(function)}, which is no function"
    else:
        came = f"{path} has no function `{name}`"
    found = [key for key, value in vars(module).items() if _is_own_function(module, value)]
    raise ConfigError(
        f"{came}; expected `def {name}(...)` at its top level. "
        f"It has {', '.join(found) or 'no functions'}: write or rename one, or give another file."
    )


def _run(name: str, file: UserFile) -> ModuleType:
    require_python_file(file)
    # An absolute path: error messages and inspect must find it after a change of folder.
    resolved = file.path.resolve()
    spec = importlib.util.spec_from_file_location(name, resolved)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{file.name} cannot be loaded as Python; expected a .py file.")
    _let_import_from_beside(file, resolved)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(
            f"{_place(error, file.name, str(resolved))}: {what}; expected a file that can be "
            f"imported. Mend it, and try it by itself: `python {shlex.quote(file.name)}`."
        ) from error
    except BaseException:  # Ctrl-C is no fault of the file
        del sys.modules[name]
        raise
    return module


def _let_import_from_beside(file: UserFile, resolved: Path) -> None:
    """Makes importable what stands in the file's folder.

    Behind everything else, because processes that the file starts search there too: a `random.py`
    must not become the module of Python's, which `python FILE` would let it.

    Raises:
        ConfigError: a module that the file imports stands there, and elsewhere under that name.
    """
    folder = resolved.parent
    if str(folder) not in sys.path:
        if not _before:
            _before.append(set(sys.modules))
        sys.path.append(str(folder))
        _beside.append(str(folder))
    for name in sorted(_imports_of(resolved) - sys.stdlib_module_names - {resolved.stem}):
        own = next(
            filter(Path.is_file, (folder / f"{name}.py", folder / name / "__init__.py")), None
        )
        if own is None:
            continue
        spec = None if name in sys.modules else importlib.util.find_spec(name)
        there = str(spec.origin) if spec else _file_of(sys.modules.get(name))
        if Path(there).resolve() != own:
            raise ConfigError(
                f"{file.name} imports {name}, which stands beside it, but another module has that "
                f"name ({there or 'without a file'}); expected a name of its own. Rename {own}."
            )


def _stands_beside(name: str) -> bool:
    """Whether a module came with a user's file: by its place, which is not just below that folder.

    An environment and this library may lie there too.
    """
    top = name.partition(".")[0]
    if not _before or top in _before[0]:
        return False
    file = Path(_file_of(sys.modules[name]))
    places = [Path(folder, top) for folder in _beside]
    return any(file == place.with_name(f"{top}.py") or place in file.parents for place in places)


def _imports_of(path: Path) -> set[str]:
    """The first parts of the names that a file imports; none where it can't be read."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return set()  # to import it will say so better
    nodes = list(ast.walk(tree))
    names = {each.name for node in nodes if isinstance(node, ast.Import) for each in node.names}
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return {name.partition(".")[0] for name in {*names, *(str(node.module) for node in froms)}}


def _file_of(module: object) -> str:
    """The file of a module; "" where it has none."""
    name = vars(module).get("__file__") if isinstance(module, ModuleType) else None
    return name if isinstance(name, str) else ""


def _free_name(path: Path) -> str:
    base = _PREFIX + re.sub(r"\W", "_", path.stem)
    name, number = base, 1
    while name in sys.modules:
        number += 1
        name = f"{base}_{number}"
    return name


def _place(error: BaseException, name: str, own: str) -> str:
    """`FILE:LINE` of the line in the user's file that failed, however deep the error was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    line = next((frame.lineno for frame in reversed(frames) if frame.filename == own), None)
    # A file that does not parse has no frame of its own.
    if line is None and isinstance(error, SyntaxError) and error.filename == own:
        line = error.lineno
    return f"{name}:{line}" if line else name


def _set_option(module: ModuleType, option: str, path: str | Path) -> None:
    name, equals, text = option.partition("=")
    constants = {key: value for key, value in vars(module).items() if _is_option(key, value)}
    if not equals or name not in constants:
        came = "is not NAME=VALUE" if not equals else f"names `{name}`, which cannot be set"
        settable = ", ".join(f"{key}={_written(value)}" for key, value in constants.items())
        raise ConfigError(
            f"The option {option!r} for {path} {came}; expected one of its lower-case constants: "
            f"{settable or 'it has none, so leave the option out'}."
        )
    present = constants[name]
    try:
        setattr(module, name, _parse(text, present))
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise ConfigError(
            f"The option {option!r} for {path} has the value {text!r}; expected "
            f"{_expected(present)}, for example {name}={_written(present)}."
        ) from error


def _is_option(name: str, value: object) -> bool:
    if not name.islower() or name.startswith("_"):
        return False
    if isinstance(value, tuple):
        return bool(value) and all(type(item) in (int, float) for item in value)
    return value is None or type(value) in (bool, int, float, str)


def _parse(text: str, present: object) -> object:
    """`text` as a value of the type of `present`; raises ValueError where it is none."""
    if isinstance(present, str):
        return text
    text = text.strip()
    if isinstance(present, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    if isinstance(present, int | float):
        return type(present)(text)
    if isinstance(present, tuple):
        kind = float if any(isinstance(item, float) for item in present) else int
        # As Python writes it is fine as well: (2, 3), or a single 2 with its comma.
        parts = text.removeprefix("(").removesuffix(")").strip().removesuffix(",").split(",")
        return tuple(kind(part) for part in parts)
    return ast.literal_eval(text)


def _expected(present: object) -> str:
    if present is None:
        return "a Python value (a text in quotes)"
    if isinstance(present, tuple):
        whole = all(isinstance(item, int) for item in present)
        return f"{'whole ' if whole else ''}numbers with commas between them"
    names = {bool: "true or false", int: "a whole number", float: "a number"}
    return names.get(type(present), "a text")


def _written(value: object) -> str:
    """A constant as its user would type it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shown(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else text[:80] + "..."


def _is_own_function(module: object, value: object) -> bool:
    return callable(value) and getattr(value, "__module__", None) == getattr(module, "__name__", "")
