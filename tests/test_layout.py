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
MOST_ATTRIBUTES = 12  # of a class: what its methods set, or the fields of a dataclass
MOST_IMPORTS = 15  # modules of this house in one of its modules

# What may be longer, and why: "tfscale/settings.py" or "tfscale/settings.py: Config".
LONGER = {
    "tfscale/settings.py: Config": "the table of settings, one line each",
    "tfscale/settings.py: Setting": "the columns of that table",
    "tfscale/training.py: imports": "the one list of listeners imports each of them",
    "tfscale/data/sources/dataset_file.py: DatasetFile": "what a user's file may define",
    "tfscale/data/feed.py: Input": "a record of all that batches come with; nothing changes it",
}

OURS = [
    path
    for folder in ("tfscale", "tools", "datasets", "models", "launch", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
MEASURED = [
    path for path in OURS if path.relative_to(ROOT).parts[0] in ("tfscale", "tools", "launch")
]
HOUSE = ("tfscale", "tools", "launch")
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


def _attributes(node):
    """What the methods of a class set on their first argument, and the fields of a dataclass."""
    found = set()
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        found |= {child.target.id for child in node.body if isinstance(child, ast.AnnAssign)}
    for child in ast.walk(node):
        if isinstance(child, ast.Attribute) and isinstance(child.ctx, ast.Store):
            if isinstance(child.value, ast.Name) and child.value.id == "self":
                found.add(child.attr)
    return found


def _imports(tree):
    """The modules of this house that a module imports."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in HOUSE:
            folder = ROOT / node.module.replace(".", "/")
            for name in node.names:
                is_module = (folder / f"{name.name}.py").exists()
                found.add(f"{node.module}.{name.name}" if is_module else node.module)
    return found


def _too_long(path):
    """What of a file is more than it may be, whether it is excepted or not: {name: how much}."""
    found, tree = {}, ast.parse(path.read_text())
    if _num_lines(path) > LONGEST_FILE:
        found[_name(path)] = _num_lines(path)
    for function, lines in _functions(tree):
        if lines > LONGEST_FUNCTION:
            found[f"{_name(path)}: {function}"] = lines
    if (imports := len(_imports(tree))) > MOST_IMPORTS:
        found[f"{_name(path)}: imports"] = imports
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and len(_attributes(node)) > MOST_ATTRIBUTES:
            found[f"{_name(path)}: {node.name}"] = len(_attributes(node))
    return found


def _only_a_docstring(source):
    body = ast.parse(source).body
    return len(body) == 1 and bool(ast.get_docstring(ast.parse(source)))


@pytest.mark.parametrize("path", MEASURED, ids=_name)
def test_files_functions_classes_and_imports_are_few(path):
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
    ("source", "attributes"),
    [
        ("class C:\n    def f(self):\n        self.a, self.b = 0, 1", {"a", "b"}),
        ("class C:\n    def f(self):\n        self.a: int = 0\n        self.b += 1", {"a", "b"}),
        ("@dataclass(frozen=True)\nclass C:\n    a: int\n    b: int = 0", {"a", "b"}),
        ("class C:\n    a: int\n    def f(self):\n        return self.b", set()),
    ],
)
def test_every_way_to_set_an_attribute_is_counted(source, attributes):
    assert _attributes(ast.parse(source).body[0]) == attributes


def test_modules_and_what_is_in_them_are_counted_once():
    source = "from tfscale import settings\nfrom tfscale.settings import Config\nimport json"
    assert _imports(ast.parse(source)) == {"tfscale.settings"}


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
