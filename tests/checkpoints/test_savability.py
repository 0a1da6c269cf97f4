import keras
import pytest
from keras import ops

from tfscale.checkpoints.savability import (
    UNCOMPILED,
    WEIGHTS,
    WHOLE,
    find_saving_way,
    require_savable,
)
from tfscale.errors import ConfigError
from tfscale.model.optimizers import LARS


class _Gate(keras.layers.Layer):
    def __init__(self, function):
        super().__init__(name="gate")
        self.function = function

    def call(self, x):
        return self.function(x)


class _Block(keras.layers.Layer):
    """Made of plain arguments, so that it is its part which can't be described."""

    def __init__(self):
        super().__init__(name="block")
        self.inner = _Gate(ops.tanh)

    def call(self, x):
        return self.inner(x)

    def get_config(self):
        return {"inner": keras.saving.serialize_keras_object(self.inner)}


class _Constant:
    def __call__(self, shape, dtype=None):
        return ops.ones(shape, dtype)


class _Halving(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.1 / (1.0 + ops.cast(step, "float32"))


def _model(*layers, optimizer="sgd", loss="mse"):
    model = keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(2)])
    model.compile(optimizer, loss)
    return model


def test_a_model_of_keras_is_saved_whole_and_the_plan_says_nothing():
    way = find_saving_way(_model(keras.layers.Lambda(lambda x: 2 * x)))
    assert (way.kind, way.file, way.rows()) == (WHOLE, "model.keras", {})


@pytest.mark.parametrize("layer", [lambda: _Gate(ops.tanh), _Block])
def test_the_innermost_layer_without_get_config_is_named(layer):
    way = find_saving_way(_model(layer()))
    assert (way.kind, way.file) == (WEIGHTS, "model.weights.h5")
    told = way.rows()["model file"]
    assert told.startswith("model.weights.h5 only; model.keras can't be written: layer 'gate'")
    assert "(_Gate) has no get_config of its own; add get_config()" in told


def test_what_a_layer_holds_is_named():
    way = find_saving_way(
        _model(keras.layers.Dense(2, kernel_initializer=_Constant(), name="first"))
    )
    assert way.kind == WEIGHTS
    assert way.reason == "layer 'first' (Dense) holds _Constant, which has no get_config"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"optimizer": lambda: keras.optimizers.SGD(_Halving())}, "optimizer or its schedule"),
        ({"loss": lambda: _Constant()}, "the loss (_Constant) has no get_config"),
        ({"optimizer": lambda: LARS(0.1)}, "plain Keras doesn't know LARS"),
    ],
)
def test_what_only_compiling_needs_stays_out_and_the_model_is_saved(given, reason):
    model = _model(**{name: make() for name, make in given.items()})
    way = find_saving_way(model)
    assert (way.kind, way.file) == (UNCOMPILED, "model.keras")
    assert reason in way.reason
    assert "get_compile_config" not in vars(model), "a rehearsal changes nothing"


def _checkpoint(path="a.keras", **how):
    return keras.callbacks.ModelCheckpoint(path, **how)


class _SavesElsewhere(keras.callbacks.ModelCheckpoint):
    def _save_model(self, epoch, batch, logs):
        pass


def _require(model, callback):
    require_savable([callback], find_saving_way(model), "mine.py")


def test_a_checkpoint_of_a_model_that_cannot_be_saved_is_refused():
    model = _model(_Gate(ops.tanh))
    with pytest.raises(ConfigError, match="layer 'gate' .* save_weights_only=True"):
        _require(model, _checkpoint())
    _require(model, _checkpoint("a.weights.h5", save_weights_only=True))
    _require(model, _SavesElsewhere("a.keras"))


def test_a_checkpoint_needs_what_a_model_is_compiled_with():
    with pytest.raises(ConfigError, match=r"the loss \(_Constant\) has no get_config"):
        _require(_model(loss=_Constant()), _checkpoint())
    _require(_model(optimizer=LARS(0.1)), _checkpoint())  # which can be saved, and loaded with it


def test_keras_still_saves_how_a_model_is_compiled_whoever_asks_it_not_to(tmp_path):
    # When this fails, `get_compile_config` need not be replaced.
    model = _model()
    model.compile("sgd", "mse")
    model.save(tmp_path / "model.keras", include_optimizer=False)
    assert keras.saving.load_model(tmp_path / "model.keras").compiled
