"""M10, M11: what a model file defines can be had back by the command that a run prints.

Each kind of model is trained for some steps, all in one process; then each printed command is typed
in a new process, in another folder.
"""

import json
import shlex
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.jobs.workers import start_all

pytestmark = pytest.mark.long

START = """
    import keras
    from keras import layers, ops

    width = 8

    def network(spec, *inner, classes=10):
        flat = [keras.Input(spec.shape), layers.Flatten()]
        return keras.Sequential([*flat, *inner, layers.Dense(width), layers.Dense(classes)])

    def cross_entropy(y, p):
        return ops.mean(keras.losses.sparse_categorical_crossentropy(y, p, from_logits=True))
"""
BUILD = """
    def build(spec, num_classes):
        return network(spec, {inner})
"""
SUBCLASS = """
    {decorator}
    class Net(keras.Model):
        def __init__(self, units=4, name=None):
            super().__init__(name=name)
            self.flat, self.inner = layers.Flatten(), layers.Dense(units)
            self.last = layers.Dense(10)
            self.units = units

        def call(self, x):
            return self.last(self.inner(self.flat(x)))

        {more}

    def build(spec, num_classes):
        return Net(width)
"""
GET_CONFIG = """
        def get_config(self):
            return {"units": self.units, "name": self.name}
"""
REGISTERED = "@keras.saving.register_keras_serializable('mine')"
HIDDEN = """
    class Gate(layers.Layer):
        def __init__(self, function):
            super().__init__()
            self.function = function
            self.scale = self.add_weight(shape=(), initializer="ones")

        def call(self, x):
            return self.function(x) * self.scale

    def build(spec, num_classes):
        return network(spec, Gate(ops.tanh))
"""
SCHEDULE = """
    class Halving(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.1 / (1.0 + ops.cast(step, "float32"))

    def build(spec, num_classes):
        model = network(spec)
        model.compile(keras.optimizers.SGD(Halving()), cross_entropy)
        return model
"""
COMPILED = """
    {more}

    def build(spec, num_classes):
        model = network(spec)
        model.compile(keras.optimizers.Adam(0.01), {loss}, metrics=[{metrics}])
        return model
"""
METRIC = """
    class Largest(keras.metrics.Metric):
        def __init__(self, name="largest", **kwargs):
            super().__init__(name=name, **kwargs)
            self.total = self.add_variable((), initializer="zeros", name="total")

        def update_state(self, y, p, sample_weight=None):
            self.total.assign_add(ops.max(p))

        def result(self):
            return self.total
"""
UNSAVEABLE = """
    class Odd(layers.Layer):
        def build(self, shape):
            self.scale = self.add_weight(shape=(), initializer="ones")

        def call(self, x):
            return x * self.scale

        def save_own_variables(self, store):
            raise KeyError("no place for it")

    def build(spec, num_classes):
        return network(spec, Odd())
"""
LAYER = """
    {0}
    class Scaled(layers.Layer):
        def call(self, x):
            return 2 * x
"""
OF_LIBRARY = """
    from tfscale.model import boxes

    class Areas(layers.Layer):
        def call(self, x):
            return x + boxes.areas(x[..., :4])[..., None]
"""
LOCAL = """
    def build(spec, num_classes):
        class Inner(layers.Layer):
            def call(self, x):
                return 2 * x
        return network(spec, Inner())
"""


def _subclass(decorator="", more=""):
    return SUBCLASS.replace("{decorator}", decorator).replace("{more}", more.strip())


def _compiled(loss="cross_entropy", metrics="", more=""):
    return COMPILED.format(loss=loss, metrics=metrics, more=more.strip())


# By name: source after START, how its command ends, file of the run, whether it comes compiled.
SCRIPT, PLAIN = "load_model.py", "-c"
KINDS = {
    "functional": (BUILD.format(inner=""), PLAIN, "model.keras", True),
    "described": (_subclass(REGISTERED, GET_CONFIG), SCRIPT, "model.keras", True),
    # Keras writes arguments into its configuration that its __init__ doesn't take: built anew.
    "unregistered": (_subclass(), SCRIPT, "model.keras", False),
    "own loss": (_compiled(), SCRIPT, "model.keras", True),
    "own metric": (
        _compiled("keras.losses.SparseCategoricalCrossentropy(True)", "Largest()", METRIC),
        SCRIPT,
        "model.keras",
        True,
    ),
    "lambda": (BUILD.format(inner="layers.Lambda(lambda x: 2 * x)"), PLAIN, "model.keras", True),
    "lambda with names": (
        BUILD.format(inner="layers.Lambda(lambda x: ops.tanh(x))"),
        SCRIPT,
        "model.keras",
        False,
    ),
    "own layer": (LAYER.format("") + BUILD.format(inner="Scaled()"), SCRIPT, "model.keras", True),
    "layer beside": (
        "    from layers_of_mine import Scaled\n" + BUILD.format(inner="Scaled()"),
        SCRIPT,
        "model.keras",
        True,
    ),
    "registered layer": (
        LAYER.format(REGISTERED) + BUILD.format(inner="Scaled()"),
        SCRIPT,
        "model.keras",
        True,
    ),
    "local class": (LOCAL, SCRIPT, "model.keras", False),
    "no get_config": (HIDDEN, SCRIPT, "model.weights.h5", False),
    "schedule": (SCHEDULE, PLAIN, "model.keras", False),
    "lars": (BUILD.format(inner=""), PLAIN, "model.keras", False),
}
SETTINGS = {"lars": {"optimizer": "lars"}}
LOADED = """
import json, runpy, sys
import numpy as np
words = json.loads(sys.argv[1])
if words[1] == "-c":
    names = {}
    exec(words[2].replace("keras.saving.load_model(", "model = keras.saving.load_model(")
         .replace(".summary()", ""), names)
else:
    names = runpy.run_path(words[1])
assert not any(name.startswith("tfscale") for name in sys.modules)
model = names["model"]
digest = __import__("hashlib").sha256()
for weight in model.get_weights():
    digest.update(np.ascontiguousarray(weight).tobytes())
x = np.full((2, 8, 8, 1), 0.5, np.float32)
shape = list(model(x).shape)
print(json.dumps({"sha256": digest.hexdigest(), "compiled": bool(model.compiled), "shape": shape}))
"""


@dataclass
class Trained:
    reports: dict
    folder: Path


def _source(text):
    return textwrap.dedent(START) + textwrap.dedent(text)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("it's a run")
    jobs = []
    more = {"unsaveable": UNSAVEABLE, "library": OF_LIBRARY + BUILD.format(inner="Areas()")}
    texts = {name: text for name, (text, *_) in KINDS.items()} | more
    for name, text in texts.items():
        path = folder / f"{name.replace(' ', '_')}.py"
        path.write_text(_source(text))
        settings = {"model_option": ["width=6"], **SETTINGS.get(name, {})}
        jobs.append({"name": name, "model": str(path), "settings": settings})
    (folder / "layers_of_mine.py").write_text(_source(LAYER.format("")))
    (folder / "jobs.json").write_text(json.dumps(jobs))
    command = [sys.executable, "-m", "tests.jobs.trainings"]
    command += [str(folder / "jobs.json"), str(folder / "out.json")]
    (ended,) = start_all([command], deadline_seconds=300)
    assert ended.code == 0, ended.err[-3000:]
    return Trained(json.loads((folder / "out.json").read_text()), folder)


@pytest.fixture(scope="module")
def loaded(trained, tmp_path_factory):
    """What each printed command gives in a process of its own, in another folder."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    commands = []
    for name in KINDS:
        words = shlex.split(trained.reports[name]["model"]["load"])
        commands.append([words[0], "-c", LOADED, json.dumps(words)])
    found = {}
    for first in range(0, len(commands), 4):
        some = commands[first : first + 4]
        ended = start_all(some, deadline_seconds=120, cwd=elsewhere, is_warm=True)
        for name, worker in zip(list(KINDS)[first : first + 4], ended, strict=True):
            assert worker.code == 0, (name, worker.err[-2000:])
            found[name] = json.loads(worker.out.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", KINDS)
def test_the_printed_command_gives_back_what_was_trained(trained, loaded, name):
    _, way, file, is_compiled = KINDS[name]
    report = trained.reports[name]
    assert report["model"]["file"] == file
    assert way in report["model"]["load"]
    assert report["model"]["load"] in report["shown"]
    assert (trained.folder / name / SCRIPT).exists() == (way == SCRIPT)
    assert loaded[name]["sha256"] == report["weights_sha256"]
    assert loaded[name]["shape"][0] == 2
    assert loaded[name]["compiled"] == is_compiled


def test_the_printed_command_ends_well_in_a_shell(trained, tmp_path):
    command = trained.reports["own layer"]["model"]["load"]
    (ended,) = start_all([["sh", "-c", command]], deadline_seconds=90, cwd=tmp_path)
    assert ended.code == 0, ended.err[-2000:]
    assert "scaled (Scaled)" in ended.out


def test_a_model_that_uses_this_library_is_loaded_wherever_the_library_lies(trained, tmp_path):
    report = trained.reports["library"]
    assert SCRIPT in report["model"]["load"]
    (ended,) = start_all([["sh", "-c", report["model"]["load"]]], deadline_seconds=90, cwd=tmp_path)
    assert ended.code == 0, ended.err[-2000:]
    assert "areas (Areas)" in ended.out


def test_a_layer_without_get_config_is_named_before_the_first_step(trained):
    shown = trained.reports["no get_config"]["shown"]
    told = " ".join(shown.partition("run directory")[2].partition("done")[0].split())
    assert "model.weights.h5 only; model.keras can't be written: layer 'gate' (Gate)" in told
    assert "has no get_config of its own; add get_config() and from_config() to it" in told
    assert not (trained.folder / "no get_config" / "model.keras").exists()


def test_a_schedule_without_get_config_keeps_the_model_and_says_what_is_left_out(trained):
    shown = " ".join(trained.reports["schedule"]["shown"].split())
    assert "model.keras without optimizer, loss and metrics: the optimizer or its schedule" in shown


def test_a_model_that_fails_while_it_is_saved_leaves_weights_and_report(trained):
    run = trained.folder / "unsaveable"
    assert trained.reports["unsaveable"]["code"] == 2
    reason = trained.reports["unsaveable"]["reason"]
    assert "model.keras can't be written (KeyError: 'no place for it')" in reason
    report = json.loads((run / "report.json").read_text())
    assert report["model"]["file"] == "model.weights.npz"
    assert shlex.split(report["model"]["load"])[1] == str(run / SCRIPT)
    with np.load(run / "model.weights.npz") as arrays:
        assert len(arrays.files) == 5
    assert not list(run.glob(".tmp-*"))
