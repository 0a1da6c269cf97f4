"""The house: what may import what, and what may not be in it. Read by `ast`, nothing is run."""

import ast
import graphlib
import itertools
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A module imports from its own floor (without a cycle) and from those below it. A package such as
# callbacks/ is one room. A new module gets its floor here, and its place on the README's map.
FLOORS = (
    (
        "config",
        "cluster",
        "throughput",
        "userfiles",
        "failures",
        "leaving",
        "terminal",
        "host",
        "garbage",
    ),
    (
        "devices",
        "strategy",
        "coordination",
        "dataset_file",
        "records",
        "examples",
        "sharding",
        "iterators",
        "pipeline",
        "inputs",
        "buckets",
        "wires",
        "communication",
        "gradients",
        "bucket_size",
        "schedules",
    ),
    (
        "model_file",
        "objectives",
        "metrics",
        "replicas",
        "batch_normalization",
        "keras_internals",
        "efficiency",
        "boundary",
        "evaluation",
        "distributed",
    ),
    ("callbacks", "plan", "reports", "run_directory", "export"),
    ("training", "__init__"),
    ("bench",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MAY_READ_THE_ENVIRONMENT = {"cluster", "devices"}

LIBRARY = sorted((ROOT / "tfscale").rglob("*.py"))
# Programs are what can be started; launch/program.py is the shell that they share.
PROGRAMS = [
    path for path in sorted((ROOT / "launch").glob("*.py")) if "__main__" in path.read_text()
]
OURS = [
    path
    for folder in ("tfscale", "datasets", "models", "launch", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def _name(path):
    return str(path.relative_to(ROOT))


def _room(path):
    return path.relative_to(ROOT / "tfscale").parts[0].removesuffix(".py")


def _imports(tree, package):
    """Every imported dotted name; `from a import b` gives a.b, with relative ones spelled out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            prefix = ".".join((*base, *([node.module] if node.module else [])))
            yield from (f"{prefix}.{alias.name}" for alias in node.names)


def _rooms_imported(source, package=("tfscale",)):
    for name in _imports(ast.parse(source), package):
        top, _, rest = name.partition(".")
        if top == "tfscale":
            room = rest.partition(".")[0]
            # `import tfscale` and `from tfscale import NAME` need what __init__ has gathered.
            yield room if room in FLOOR_OF else "__init__"


def _room_imports(path):
    package = path.relative_to(ROOT).parent.parts
    return set(_rooms_imported(path.read_text(), package)) - {_room(path)}


def _violations(path):
    """What a library file has that it may not have: (line, what)."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Assert):
            yield node.lineno, "assert"
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
            yield node.lineno, "print"
        elif _room(path) not in MAY_READ_THE_ENVIRONMENT and _touches_environment(node):
            yield node.lineno, "environment"


def _touches_environment(node):
    names = {"environ", "environb", "getenv", "putenv", "unsetenv"}
    if isinstance(node, ast.Attribute):
        return node.attr in names  # whatever name os was imported by
    if isinstance(node, ast.ImportFrom):
        return node.module == "os" and any(alias.name in names for alias in node.names)
    return False


@pytest.mark.parametrize("path", LIBRARY, ids=_name)
def test_every_module_of_the_library_has_a_floor(path):
    assert _room(path) in FLOOR_OF, "give it a floor in tests/test_layout.py"


@pytest.mark.parametrize("path", LIBRARY, ids=_name)
def test_imports_point_down_or_sideways(path):
    own = FLOOR_OF[_room(path)]
    upwards = sorted(room for room in _room_imports(path) if FLOOR_OF[room] > own)
    assert not upwards, f"floor {own} must not import from above: {upwards}"


def test_no_two_modules_import_each_other():
    graph = {}
    for path in LIBRARY:
        graph.setdefault(_room(path), set()).update(_room_imports(path))
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError with the modules in the circle


@pytest.mark.parametrize("path", LIBRARY, ids=_name)
def test_the_library_never_imports_the_users_side(path):
    package = path.relative_to(ROOT).parent.parts
    tops = {name.partition(".")[0] for name in _imports(ast.parse(path.read_text()), package)}
    assert not tops & {"datasets", "models", "launch"}


@pytest.mark.parametrize("path", LIBRARY, ids=_name)
def test_the_library_has_no_print_no_assert_and_reads_no_environment(path):
    assert not [f"{path.name}:{line}: {what}" for line, what in _violations(path)]


@pytest.mark.parametrize("path", OURS, ids=_name)
def test_a_file_is_named_after_its_concern(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    assert not set(parts) & {"utils", "util", "helpers", "helper", "common", "misc"}


@pytest.mark.parametrize("path", PROGRAMS, ids=_name)
def test_a_program_file_is_under_80_lines(path):
    assert len(path.read_text().splitlines()) < 80


def test_no_room_is_on_two_floors():
    rooms = list(itertools.chain.from_iterable(FLOORS))
    assert len(rooms) == len(set(rooms))


# The rules above are only as good as what they see.


@pytest.mark.parametrize(
    ("source", "package", "rooms"),
    [
        ("import tfscale.training", ("tfscale",), {"training"}),
        ("import tfscale", ("tfscale",), {"__init__"}),
        ("from tfscale import config", ("tfscale",), {"config"}),
        ("from tfscale import __version__", ("tfscale",), {"__init__"}),
        ("from tfscale.config import Config", ("tfscale",), {"config"}),
        ("from . import metrics", ("tfscale",), {"metrics"}),
        ("from .metrics import Mean", ("tfscale",), {"metrics"}),
        ("from ..reports import write", ("tfscale", "callbacks"), {"reports"}),
        ("def f():\n    from tfscale import training", ("tfscale",), {"training"}),
        ("import tensorflow", ("tfscale",), set()),
    ],
)
def test_every_way_to_write_an_import_is_seen(source, package, rooms):
    assert set(_rooms_imported(source, package)) == rooms


@pytest.mark.parametrize(
    "source",
    [
        "os.environ['A']",
        "os.environ.get('A')",
        "os.getenv('A')",
        "os.environ.setdefault('A', '1')",
        "from os import environ",
        "from os import getenv as g",
        "import os as o\no.environ['A']",
    ],
)
def test_every_way_to_touch_the_environment_is_seen(source):
    assert any(_touches_environment(node) for node in ast.walk(ast.parse(source)))
