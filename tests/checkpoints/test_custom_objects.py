import sys
from types import ModuleType

import keras
import pytest

from tfscale.checkpoints.custom_objects import needed_by, places_of
from tfscale.checkpoints.savability import configuration
from tfscale.user_files import load_module

FILE = """
import keras
from keras import ops

class Scaled(keras.layers.Layer):
    def call(self, x):
        return 2 * x

@keras.saving.register_keras_serializable("shop", "discount")
class Cheaper(keras.layers.Layer):
    def call(self, x):
        return 0.9 * x

def distance(y, p):
    return ops.mean(ops.abs(y - p))

def mean_squared_error(y, p):
    return distance(y, p)

def hidden():
    class Inner(keras.layers.Layer):
        def call(self, x):
            return x
    return Inner()
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "shop.py"
    path.write_text(FILE)
    known, before = keras.saving.get_custom_objects(), set(sys.modules)
    module = load_module(str(path), [])
    yield module
    known.pop("shop>discount", None)
    for name in set(sys.modules) - before:
        if name.startswith("tfscale_userfile_"):
            del sys.modules[name]


def _needed(*layers, loss="mse", metrics=(), own=None):
    model = keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(2, "relu")])
    model.compile("adam", loss, metrics=list(metrics))
    return needed_by(configuration(model), own)


def test_what_keras_brings_is_not_needed():
    needed = _needed(
        keras.layers.BatchNormalization(),
        loss=keras.losses.mean_absolute_error,
        metrics=["accuracy", keras.metrics.AUC()],
    )
    assert needed.is_plain
    assert places_of(needed, None) == {}


def test_a_layer_is_found_in_the_model_file(own):
    needed = _needed(own.Scaled(), own.Cheaper())
    assert needed.in_layers and not needed.is_plain
    # Keras's name for each; a registered one is found whatever it is called.
    assert set(needed.names) == {"Scaled", "shop>discount"}
    assert places_of(needed, own) == {"Scaled": "own.Scaled", "shop>discount": "own.Cheaper"}


def test_a_loss_and_a_metric_are_needed_for_compiling_alone(own):
    needed = _needed(loss=own.distance, metrics=[own.distance])
    assert (list(needed.names), needed.in_layers) == (["distance"], False)
    assert places_of(needed, own) == {"distance": "own.distance"}


def test_a_function_with_the_name_of_one_of_keras_is_the_users(own):
    needed = _needed(loss=own.mean_squared_error, own=own)
    assert places_of(needed, own) == {"mean_squared_error": "own.mean_squared_error"}


def test_a_class_that_a_function_defines_is_nowhere(own):
    assert places_of(_needed(own.hidden()), own) is None


def test_what_another_module_of_the_user_defines_is_found_there(own, tmp_path, monkeypatch):
    (tmp_path / "helper_of_mine.py").write_text(FILE.replace("Scaled", "Tripled"))
    monkeypatch.syspath_prepend(tmp_path)
    helper = __import__("helper_of_mine")
    try:
        needed = _needed(helper.Tripled())
        assert places_of(needed, own) == {"Tripled": "helper_of_mine.Tripled"}
    finally:
        del sys.modules["helper_of_mine"]


def test_a_class_of_the_program_itself_cannot_be_imported(monkeypatch):
    kind = type("Local", (keras.layers.Layer,), {"__module__": "__main__"})
    monkeypatch.setattr(sys.modules["__main__"], "Local", kind, raising=False)
    assert places_of(_needed(kind()), None) is None


def test_code_within_the_file_is_noticed():
    needed = _needed(keras.layers.Lambda(lambda x: 2 * x))
    assert needed.has_lambda and not needed.is_plain and not needed.names


def test_a_package_that_is_installed_is_imported_by_its_name(monkeypatch):
    module = ModuleType("installed_layers")
    kind = type("Wide", (keras.layers.Layer,), {"__module__": "installed_layers"})
    module.Wide = kind
    monkeypatch.setitem(sys.modules, "installed_layers", module)
    assert places_of(_needed(kind()), None) == {"Wide": "installed_layers.Wide"}
