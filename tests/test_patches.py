"""Everything that is replaced in another library stands in docs/patches.md, with what ends it."""

import ast
import re

import pytest

from tests.patches import ANY, LIST, ROOT, own_attributes, replaced, rows

TREES = {
    str(path.relative_to(ROOT)): ast.parse(path.read_text())
    for path in sorted((ROOT / "tfscale").rglob("*.py"))
}
OWN = own_attributes(TREES.values())
ROWS = rows(LIST.read_text())


@pytest.mark.parametrize("file", TREES)
def test_what_is_replaced_is_listed(file):
    listed = [row.names for row in ROWS if row.file == file]
    found = replaced(TREES[file], OWN)
    missing = found - frozenset().union(*listed) - ({ANY} if listed else set())
    assert not missing, f"docs/patches.md says nothing about {missing} of {file}"


def test_what_is_listed_is_replaced():
    for row in ROWS:
        words = set(re.findall(r"\w+", (ROOT / row.file).read_text()))
        assert row.names <= words, f"{row.file} has no {row.names - words}"


def test_what_ends_a_replacement_is_a_test_that_there_is():
    for row in ROWS:
        for test in row.tests:
            file, _, name = test.partition("::")
            assert f"\ndef {name}(" in (ROOT / file).read_text(), test


def test_every_table_is_read():
    lines = [line for line in LIST.read_text().splitlines() if line.startswith("| `")]
    assert len(ROWS) == len(lines)


def test_names_of_keras_that_are_not_public_stand_in_one_file():
    said = {file for file in TREES if "keras.src" in (ROOT / file).read_text()}
    # The second one compares names of modules in a stack.
    assert said == {"tfscale/fit/keras/seams.py", "tfscale/health/stack_section.py"}


def _found(source):
    ours = "class Ours:\n    limit: int\n    def __init__(self):\n        self.step = 0\n"
    return replaced(ast.parse(source), own_attributes([ast.parse(ours)]))


KERAS, TF = "import keras\n", "import tensorflow as tf\n"


@pytest.mark.parametrize(
    "source",
    [
        KERAS + "keras.Model.fit = None",
        KERAS + "keras.Model.step = None",  # of a name that ours have too
        KERAS + "keras.Model.fit: object = None",
        KERAS + "keras.Model.steps |= {1}",
        KERAS + "other, keras.Model.fit = 1, 2",
        KERAS + "model = keras.Model\nmodel.step = None",
        KERAS + "for kind in (keras.Model,):\n    kind.fit = None",
        KERAS + "def f(model: keras.Model):\n    model.step = None",
        KERAS
        + "def f(models: list[keras.Model]):\n    for one in models:\n        one.step = None",
        KERAS + "def f(model: keras.Model):\n    def g():\n        model.step = None",
        KERAS + "setattr(keras.Model, 'fit', None)",
        KERAS + "delattr(keras.Model, 'fit')",
        KERAS + "type.__setattr__(keras.Model, 'fit', None)",
        TF + "vars(tf.nn).update(a=1)",
        TF + "tf.nn.__dict__.update(a=1)",
        TF + "vars(tf.nn)['a'] = 1",
        TF + "def f(strategy):\n    extended = strategy.extended\n    extended.update = None",
        "from keras.src import losses\nlosses.reduce_values = None",
        "from tfscale.fit.keras.seams import keras_loss\nkeras_loss.step = None",
        "def f(model):\n    model.fit = None",
        "def f(model):\n    model.__class__ = None",
        "def f(model, name):\n    setattr(model, name, None)",
        "class C:\n    def f(self):\n        self.model.fit = None",
    ],
)
def test_every_way_to_replace_something_is_seen(source):
    assert _found(source)


@pytest.mark.parametrize(
    "source",
    [
        "class C:\n    def f(self):\n        self.fit = None",
        "class C:\n    def f(self):\n        setattr(self, 'fit', None)",
        "class C:\n    pass\nsetattr(C, 'fit', None)",
        "def f(ours):\n    ours.step = 1\n    ours.limit += 1",
        TF + "def f():\n    options = tf.data.Options()\n    options.autotune.enabled = False",
        "import threading\n_local = threading.local()\n_local.step = 1\n_local.other = 2",
        KERAS + "model = keras.Model()\nfit = model.fit",
        "a, b = 1, 2",
    ],
)
def test_what_is_ours_is_no_replacement(source):
    assert not _found(source)
