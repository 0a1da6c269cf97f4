"""The house: how long its files and functions are, what they are called, what a package says.

What may import what, and what may be touched where, is checked by `make lint` (import-linter and
ruff, both set up in pyproject.toml). This is the rest; files are read by `ast`, nothing is run.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LONGEST_PROGRAM = 79
LONGEST_FILE = 400
LONGEST_FUNCTION = 50  # lines, with decorators and docstring

# What may be longer, and why: "tfscale/settings.py" or "tfscale/settings.py: Config.check".
LONGER = {}

OURS = [
    path
    for folder in ("tfscale", "tools", "datasets", "models", "launch", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
MEASURED = [
    path for path in OURS if path.relative_to(ROOT).parts[0] in ("tfscale", "tools", "launch")
]
PROGRAMS = [
    path for path in sorted((ROOT / "launch").glob("*.py")) if "__main__" in path.read_text()
]
# What `import tfscale` gives is gathered in the one that is left out.
PACKAGES = sorted({path.parent for path in MEASURED} - {ROOT / "tfscale"})


def _name(path):
    return str(path.relative_to(ROOT))


def _num_lines(path):
    return len(path.read_text().splitlines())


def _functions(node, names=()):
    """Every function with its dotted name and its length, however deep it is defined."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _functions(child, names)
            continue
        inner = (*names, child.name)
        if not isinstance(child, ast.ClassDef):
            first = min([child.lineno, *(item.lineno for item in child.decorator_list)])
            yield ".".join(inner), child.end_lineno - first + 1
        yield from _functions(child, inner)


def _too_long(path):
    """What of a file is longer than it may be, whether it is excepted or not: {name: lines}."""
    found = {}
    if _num_lines(path) > LONGEST_FILE:
        found[_name(path)] = _num_lines(path)
    for function, lines in _functions(ast.parse(path.read_text())):
        if lines > LONGEST_FUNCTION:
            found[f"{_name(path)}: {function}"] = lines
    return found


def _only_a_docstring(source):
    body = ast.parse(source).body
    return len(body) == 1 and bool(ast.get_docstring(ast.parse(source)))


@pytest.mark.parametrize("path", MEASURED, ids=_name)
def test_files_and_functions_are_short(path):
    assert not {name: lines for name, lines in _too_long(path).items() if name not in LONGER}


def test_every_exception_has_a_reason_and_is_still_needed():
    long = {name for path in MEASURED for name in _too_long(path)}
    assert not {name: reason for name, reason in LONGER.items() if not reason or name not in long}


@pytest.mark.parametrize("path", PROGRAMS, ids=_name)
def test_a_program_only_translates_flags_and_is_short(path):
    assert _num_lines(path) <= LONGEST_PROGRAM


@pytest.mark.parametrize("folder", PACKAGES, ids=_name)
def test_a_package_says_what_it_is_for_and_nothing_else(folder):
    start = folder / "__init__.py"
    assert start.is_file(), "without it import-linter doesn't see what is in the folder"
    assert _only_a_docstring(start.read_text())


def _unnamed(folder):
    """Modules and packages of a folder that its map doesn't name."""
    named = set(re.findall(r"`(\w+)`", (folder / "__init__.py").read_text()))
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__", "__main__"}
    return sorted((modules | {path.parent.name for path in folder.glob("*/__init__.py")}) - named)


@pytest.mark.parametrize("folder", [ROOT / "tfscale", *PACKAGES], ids=_name)
def test_a_package_names_all_that_is_in_it(folder):
    assert _unnamed(folder) == []


@pytest.mark.parametrize("path", OURS, ids=_name)
def test_a_file_is_named_after_its_concern(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    assert not set(parts) & {"utils", "util", "helpers", "helper", "common", "misc"}


# The rules above are only as good as what they see.


@pytest.mark.parametrize(
    ("source", "functions"),
    [
        ("def f():\n    pass", {"f": 2}),
        ("def f():\n    '''Says\n\n    what for.'''", {"f": 4}),
        ("@first\n@second(\n    1\n)\ndef f():\n    pass", {"f": 6}),
        ("async def f():\n    pass", {"f": 2}),
        ("class C:\n    def f(self):\n        pass", {"C.f": 2}),
        ("def f():\n    def g():\n        pass\n    return g", {"f": 4, "f.g": 2}),
        ("if True:\n    def f():\n        pass", {"f": 2}),
        ("class C:\n    x = 1", {}),
    ],
)
def test_every_way_to_write_a_function_is_measured(source, functions):
    assert dict(_functions(ast.parse(source))) == functions


@pytest.mark.parametrize(
    ("source", "is_fine"),
    [
        ('"""What for."""\n', True),
        ("", False),
        ("x = 1", False),
        ('"""What for."""\n\nfrom tfscale.settings import Config\n', False),
    ],
)
def test_a_docstring_and_nothing_else_is_told_from_the_rest(source, is_fine):
    assert _only_a_docstring(source) == is_fine
