import inspect
import multiprocessing
import os
import pickle
import shlex
import subprocess
import sys

import pytest

from tfscale import user_files as userfiles
from tfscale.errors import ConfigError
from tfscale.user_files import options_of
from tfscale.user_paths import located

SOURCE = """
import math
from math import pi as _pi

depth = 50
rate = 0.5
augment = True
name = "small"
widths = (32, 64)
scales = (1, 0.5)
limit = None
table = {"a": 1}
LOUD = 1
_hidden = 1
runs = 0
runs += 1
twice = depth * 2


def build():
    return depth


class Record:
    pass
"""


@pytest.fixture(autouse=True)
def _modules_as_before():
    userfiles.forget_modules()
    yield
    userfiles.forget_modules()


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "model.py"
    file.write_text(SOURCE)
    return file


def _message(path, *options):
    before = set(sys.modules)
    with pytest.raises(ConfigError) as caught:
        userfiles.load_module(path, options)
    assert set(sys.modules) == before, "a refused file must leave nothing behind"
    message = str(caught.value)
    assert "\n" not in message
    assert "; expected " in message
    return message


def test_a_file_runs_once_with_its_own_values(path):
    module = userfiles.load_module(path, [])
    assert (module.depth, module.runs) == (50, 1)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("depth=18", 18),
        ("depth= -1 ", -1),
        ("rate=1e-3", 0.001),
        ("rate=2", 2.0),
        ("augment=false", False),
        ("augment=True", True),
        ("name=a=b, c", "a=b, c"),
        ("name=", ""),
        ("widths=8,16,32", (8, 16, 32)),
        ("widths=8", (8,)),
        ("widths=(8, 16)", (8, 16)),
        ("widths=(8,)", (8,)),
        ("scales=2,3", (2.0, 3.0)),
        ("limit=7", 7),
        ("limit='text'", "text"),
        ("limit=None", None),
    ],
)
def test_an_option_is_read_by_the_type_of_the_constant_it_replaces(path, option, value):
    found = getattr(userfiles.load_module(path, [option]), option.partition("=")[0])
    assert found == value
    assert type(found) is type(value)
    if isinstance(value, tuple):
        assert [type(item) for item in found] == [type(item) for item in value]


def test_a_file_may_be_in_the_users_home(path, monkeypatch):
    monkeypatch.setenv("HOME", str(path.parent))
    assert userfiles.load_module("~/model.py", []).depth == 50


def test_the_command_to_try_a_broken_file_survives_a_shell(path):
    broken = path.with_name("it's $mine.py")
    broken.write_text("1 / 0")
    assert f"`python {shlex.quote(str(broken))}`" in _message(broken)


def test_forgotten_modules_leave_python_and_what_was_made_of_them_goes_on(path):
    module = userfiles.load_module(path, [])
    build, record = module.build, module.Record()
    name = module.__name__
    del module
    userfiles.forget_modules()
    assert name not in sys.modules
    assert build() == 50
    assert type(record).__name__ == "Record"


def test_functions_see_the_option_and_what_was_computed_before_stays(path):
    module = userfiles.load_module(path, ["depth=18"])
    assert module.build() == 18
    assert module.twice == 100
    assert module.runs == 1


@pytest.mark.parametrize(
    "option",
    ["width=1", "LOUD=2", "_hidden=2", "build=2", "math=2", "table={}", "Record=1", "=1"],
)
def test_what_is_no_constant_cannot_be_set_and_the_error_names_those_that_can(path, option):
    message = _message(path, option)
    assert f"names `{option.partition('=')[0]}`, which cannot be set" in message
    assert "depth=50, rate=0.5, augment=true, name=small, widths=32,64" in message
    assert "LOUD" not in message.partition("expected")[2]


def test_an_option_without_a_value_is_refused(path):
    assert "is not NAME=VALUE" in _message(path, "depth")


def test_a_file_without_constants_says_so(tmp_path):
    file = tmp_path / "bare.py"
    file.write_text("def build(): ...\n")
    assert "it has none" in _message(file, "depth=1")


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("depth=deep", "a whole number, for example depth=50"),
        ("depth=1.5", "a whole number"),
        ("depth=true", "a whole number"),
        ("depth=", "a whole number"),
        ("rate=fast", "a number, for example rate=0.5"),
        ("augment=1", "true or false, for example augment=true"),
        ("widths=1.5,2", "whole numbers with commas"),
        ("widths=", "whole numbers with commas"),
        ("widths=8,,16", "whole numbers with commas"),
        ("scales=a,b", "numbers with commas"),
        ("limit=text", "a Python value"),
        ("limit=(", "a Python value"),
        ("limit=open('x')", "a Python value"),
    ],
)
def test_a_value_of_another_type_is_refused_with_one_that_works(path, option, expected):
    message = _message(path, option)
    assert repr(option.partition("=")[2]) in message
    assert expected in message


def test_two_loads_of_a_file_are_two_modules(path):
    first = userfiles.load_module(path, ["depth=1"])
    second = userfiles.load_module(path, ["depth=2"])
    assert first.__name__ != second.__name__
    assert (first.build(), second.build()) == (1, 2)


def test_what_the_file_defines_can_be_pickled_and_inspected(path):
    module = userfiles.load_module(path, [])
    record = pickle.loads(pickle.dumps(module.Record()))  # noqa: S301  # pickled in this line
    assert type(record) is module.Record
    assert "return depth" in inspect.getsource(module.build)


def test_the_search_path_gets_two_folders_until_all_is_forgotten(path):
    userfiles.forget_modules()
    before = list(sys.path)
    for _ in range(2):
        userfiles.load_module(path, [])
    (*first, beside, added) = sys.path
    assert (first, beside) == (before, str(path.parent))
    assert sorted(os.listdir(added)) == ["tfscale_userfile_model.py", "tfscale_userfile_model_2.py"]
    userfiles.forget_modules()
    assert sys.path == before
    assert not os.path.exists(added)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_that_are_started_anew_have_the_file_with_its_options(path, method):
    first, second = (userfiles.load_module(path, [f"depth={depth}"]) for depth in (18, 19))
    with multiprocessing.get_context(method).Pool(1) as pool:
        built = [pool.apply_async(module.build) for module in (first, second)]
        made = pool.apply_async(first.Record)
        assert [each.get(60) for each in built] == [18, 19]
        assert type(made.get(60)) is first.Record


# What joblib does: names in a pickle, for a Python of its own that is given the search path.
BY_NAME = """
import ast, inspect, pickle, sys
sys.path[:] = ast.literal_eval(sys.argv[1])
build = pickle.load(sys.stdin.buffer)
print(build(), inspect.getsource(build).splitlines()[0], sys.modules[build.__module__].__file__)
print("tensorflow" in sys.modules)
"""


def test_whoever_is_given_the_search_path_can_import_the_file_by_its_name(path):
    module = userfiles.load_module(path, ["depth=18"])
    done = subprocess.run(
        [sys.executable, "-c", BY_NAME, repr(sys.path)],
        input=pickle.dumps(module.build),
        capture_output=True,
        timeout=60,
    )
    assert done.stderr == b""
    assert done.stdout.decode().splitlines() == [f"18 def build(): {path}", "False"]


def test_a_refused_file_can_not_be_imported_by_other_processes(path):
    userfiles.load_module(path, [])
    _message(path, "depth=deep")
    assert os.listdir(sys.path[-1]) == ["tfscale_userfile_model.py"]


def test_a_path_is_meant_from_where_it_was_given(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    file = located("model.py")
    monkeypatch.chdir("/")
    assert userfiles.load_module(file, []).__file__ == str(path)
    path.unlink()
    assert f"There is no file model.py (in {path.parent})" in _message(file)


def test_a_relative_path_is_found_from_here(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    assert userfiles.load_module("model.py", []).depth == 50


def test_a_missing_file_is_named_with_the_folder_it_was_looked_for_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = _message("gone.py")
    assert "There is no file gone.py" in message
    assert str(tmp_path) in message


@pytest.mark.parametrize("name", ["folder.py", "notes.txt"])
def test_a_folder_and_another_kind_of_file_are_refused(tmp_path, name):
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "notes.txt").write_text("x = 1\n")
    assert "is no Python file" in _message(tmp_path / name)


@pytest.mark.parametrize(
    ("source", "line", "says"),
    [
        ("x = 1\n\nx / 0\n", 3, "ZeroDivisionError: division by zero"),
        ("def f():\n    raise ValueError('two\\nlines')\n\nf()\n", 2, "ValueError: two lines"),
        ("import json\njson.loads('?')\n", 2, "JSONDecodeError: Expecting value"),
        ("import not_there_at_all\n", 1, "ModuleNotFoundError: No module named"),
        ("x = 1\nif x\n", 2, "SyntaxError: expected ':'"),
        ("import sys\nsys.exit(2)\n", 2, "SystemExit: 2"),
        ("def f():\n    f()\n\nf()\n", 2, "RecursionError"),
    ],
)
def test_a_file_that_fails_is_named_with_its_line_and_the_exception(tmp_path, source, line, says):
    file = tmp_path / "broken.py"
    file.write_text(source)
    message = _message(file)
    assert message.startswith(f"{file}:{line}: ")
    assert says in message
    assert f"python {file}" in message


def test_ctrl_c_while_a_file_runs_is_not_its_fault(tmp_path):
    file = tmp_path / "slow.py"
    file.write_text("raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        userfiles.load_module(file, [])
    assert "tfscale_userfile_slow" not in sys.modules


def test_a_required_function_is_given(path):
    module = userfiles.load_module(path, [])
    assert userfiles.require_function(module, "build", path) is module.build


def test_a_missing_function_is_refused_with_those_there_are(path):
    module = userfiles.load_module(path, [])
    with pytest.raises(ConfigError) as caught:
        userfiles.require_function(module, "load", path)
    message = str(caught.value)
    assert f"{path} has no function `load`; expected `def load(...)`" in message
    assert "It has build" in message
    assert "\n" not in message


def test_a_name_that_cannot_be_called_is_no_function(path):
    module = userfiles.load_module(path, [])
    with pytest.raises(ConfigError, match="has `depth` = 50, which is no function"):
        userfiles.require_function(module, "depth", path)


# Options that are shown.


def test_the_options_of_a_file_are_read_off_its_text(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "raise SystemExit('nothing of it is run')\n"
        "depth = 50  # layers\n"
        "shape: tuple = (32, 32)\n"
        "rate = 0.5\n"
        "folder = 'data'\n"
        "augment = False\n"
        "limit = None\n"
        "SIZE = 3\n"
        "_own = 3\n"
        "computed = depth * 2\n"
        "def load(split):\n    local = 1\n"
    )
    found = [(one.name, one.value, one.kind, one.comment) for one in options_of(path)]
    assert found == [
        ("depth", "50", "a whole number", "layers"),
        ("shape", "32,32", "whole numbers with commas between them", ""),
        ("rate", "0.5", "a number", ""),
        ("folder", "data", "a text", ""),
        ("augment", "false", "true or false", ""),
        ("limit", "None", "a Python value (a text in quotes)", ""),
    ]


@pytest.mark.parametrize("text", [None, "depth = ", "depth = 1\0"])
def test_a_file_that_does_not_parse_has_no_options(tmp_path, text):
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(
        ConfigError, match=r"There is no file .*mine.py|mine.py can't be read as Python"
    ):
        options_of(path)


@pytest.fixture
def beside(tmp_path):
    """A file that imports what stands beside it: a module at once, a package later."""
    folder = tmp_path / "with [brackets] and blanks"
    (folder / "parts_of_mine").mkdir(parents=True)
    (folder / "parts_of_mine" / "__init__.py").write_text("from parts_of_mine.inner import late\n")
    (folder / "parts_of_mine" / "inner.py").write_text("late = 5\n")
    (folder / "help_of_mine.py").write_text("def double(x):\n    return 2 * x\n")
    file = folder / "model.py"
    file.write_text(
        "from help_of_mine import double\n\n\ndef build():\n    from parts_of_mine import late\n"
        "    return double(late)\n"
    )
    return file


def test_what_stands_beside_a_file_is_importable_and_forgotten_with_it(beside):
    path, modules = list(sys.path), set(sys.modules)
    module = userfiles.load_module(beside, [])
    assert module.build() == 10
    assert pickle.loads(pickle.dumps(module.double))(2) == 4  # noqa: S301  # our own
    userfiles.forget_modules()
    assert (sys.path, set(sys.modules) - modules) == (path, set())
    (beside.parent / "help_of_mine.py").write_text("def double(x):\n    return -x\n# changed\n")
    assert userfiles.load_module(beside, []).build() == -5


def test_a_library_below_the_folder_of_a_file_is_not_forgotten(tmp_path, monkeypatch):
    library = tmp_path / ".venv" / "site-packages"
    library.mkdir(parents=True)
    (library / "library_of_mine.py").write_text("")
    monkeypatch.syspath_prepend(str(library))
    (tmp_path / "model.py").write_text("import library_of_mine\n")
    userfiles.load_module(tmp_path / "model.py", [])
    userfiles.forget_modules()
    assert sys.modules.pop("library_of_mine")


def test_other_processes_find_what_stands_beside_a_file(beside):
    module = userfiles.load_module(beside, [])
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(module.double, [3]) == [6]
        assert pool.apply(module.build) == 10


def test_modules_of_pythons_stay_what_they_are(tmp_path):
    (tmp_path / "random.py").write_text("import random\n\nis_mine = True\n")
    (tmp_path / "data.py").write_text("import random\n\nof_python = random.random\n")
    assert userfiles.load_module(tmp_path / "random.py", []).is_mine
    module = userfiles.load_module(tmp_path / "data.py", [])
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert 0.0 <= pool.apply(module.of_python) < 1.0


def test_a_module_beside_a_file_that_is_installed_too_is_refused(tmp_path):
    (tmp_path / "absl.py").write_text("mine = 1\n")
    (tmp_path / "data.py").write_text("import absl\n")
    with pytest.raises(ConfigError, match="imports absl, which stands beside it, but another"):
        userfiles.load_module(tmp_path / "data.py", [])


def test_two_modules_of_one_name_beside_two_files_are_refused(beside, tmp_path):
    userfiles.load_module(beside, [])
    other = tmp_path / "other"
    other.mkdir()
    (other / "help_of_mine.py").write_text("double = abs\n")
    (other / "data.py").write_text("import help_of_mine\n")
    with pytest.raises(ConfigError, match="imports help_of_mine, which stands beside it") as caught:
        userfiles.load_module(other / "data.py", [])
    assert str(beside.parent / "help_of_mine.py") in str(caught.value)
    (other / "data.py").write_text("import math\n")  # what it doesn't import is nobody's business
    userfiles.load_module(other / "data.py", [])
